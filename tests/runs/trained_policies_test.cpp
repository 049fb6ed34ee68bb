#include <merganser/runs/trained_policies.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace trained_policies_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

merge::Policy<float> made(const std::string& text) {
  models::StackConfig stack;
  stack.width = 8;
  stack.blocks = 4;
  return named_placements(text, stack, trained_policies())[0].policy;
}

TEST_CASE("layers have the width of the stack and the settings of their names", "[trained_policies]") {
  CHECK(made("channel_fold:group=3").target<merge::ChannelFold<float>>()->config().rate == 3);
  CHECK(made("channel_fold").target<merge::ChannelFold<float>>()->config().width == 8);
  CHECK(made("dynamicvit:keep=0.5").target<merge::DynamicViT<float>>()->config().keep_rate == 0.5);
  CHECK(made("latent_read:group=8,latents=2").target<merge::LatentRead<float>>()->config().latents == 2);
  CHECK(made("integrate_and_fire:share=0.5").target<merge::IntegrateAndFire<float>>()->config().share == 0.5);
  CHECK(made("funnel:group=4").target<merge::FunnelPooling>()->rate == 4);
  CHECK(made("sampled_gate").traits().is_gate);
  const auto words = made("words:pool=largest");
  CHECK(words.target<merge::SegmentPooling<merge::WordStarts>>()->pool == merge::SegmentPool::largest);
  CHECK_THAT(argument_error([] { made("words:pool=x"); }),
             Catch::Matchers::StartsWith("policy words: pool: got x, expected one of mean"));
}

}  // namespace trained_policies_test
