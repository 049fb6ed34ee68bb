// The measured jobs: they do what they are called, and the cost model's figures for them are those of the targets.
#include "measure/work.hpp"

#include <stdexcept>
#include <vector>

#include <merganser/evaluation/cost_model.hpp>

#include "measure/measurement.hpp"
#include "support/catch.hpp"

namespace work_test {

using namespace merganser;
using namespace merganser::bench;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

Account account_of(const Job& job) {
  ModelShelf shelf;
  Work work(job, shelf);
  work.run();
  return work.account();
}

evaluation::CostShape cost(Shape shape) {
  const Model::Config config = model_config(shape);
  return evaluation::cost_shape(config, model_policies(config));
}

TEST_CASE("the shapes cost what the targets were computed from", "[bench]") {
  const std::vector<Index> whole{1024}, half{512};
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::small), whole) / 1e9, WithinAbs(464, 0.5));
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::small), whole, half) / 1e9, WithinAbs(286, 0.5));
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::demo), std::vector<Index>{256}) / 1e9, WithinAbs(2.4, 0.05));
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::demo), whole) / 1e9, WithinAbs(14.5, 0.05));
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::demo), std::vector<Index>{2048}) / 1e9, WithinAbs(41.9, 0.05));
  const auto ragged = Work::source_lengths({Shape::small, Mode::ragged, 1024});
  CHECK(ragged == std::vector<Index>{128, 256, 384, 512, 640, 768, 896, 1024});
  CHECK_THAT(evaluation::encoder_flops(cost(Shape::small), ragged) / 1e9, WithinAbs(2060, 5));
  CHECK(Work::target_lengths({Shape::small, Mode::encode_decode, 1024}) == std::vector<Index>{189});
}

TEST_CASE("a job deletes the asked share and its account says so", "[bench]") {
  for (const double deletion : {0.0, 0.25, 0.5, 0.75}) {
    CAPTURE(deletion);
    const Account account = account_of({.mode = Mode::encode, .bytes = 16, .deletion = deletion});
    CHECK(account.deletion_rate == deletion);
    const std::vector<Index> whole{16}, kept{static_cast<Index>(16 * (1 - deletion))};
    CHECK(account.flops == (deletion == 0 ? evaluation::encoder_flops(cost(Shape::demo), whole)
                                          : evaluation::encoder_flops(cost(Shape::demo), whole, kept)));
    CHECK(account.bytes_read == 0);
    CHECK(account.text_bytes == 16);
    CHECK(account.least_seconds(account.flops, 1) == 1);
  }
  // Lengths 2 to 16: of every sequence half.
  CHECK(account_of({.mode = Mode::ragged, .bytes = 16, .deletion = 0.5}).deletion_rate == 0.5);
  CHECK(account_of({.mode = Mode::encode, .bytes = 1, .deletion = 1.0}).deletion_rate == 0);
}

TEST_CASE("every mode counts its own products", "[bench]") {
  const std::vector<Index> one{32}, five{5};
  const double encoder = evaluation::encoder_flops(cost(Shape::demo), one);
  CHECK(account_of({.mode = Mode::encode_decode, .bytes = 32}).flops ==
        encoder + evaluation::decoder_flops(cost(Shape::demo), five, one, 384));

  const Account generated = account_of({.mode = Mode::generate, .bytes = 32});
  CHECK(generated.bytes_read == 64 * 4.0 * evaluation::generation_step_weights(cost(Shape::demo), 384));
  CHECK(generated.text_bytes == 64);
  CHECK(generated.bound_flops < generated.flops);
  CHECK_THAT(generated.least_seconds(1e30, 1), WithinRel(generated.bytes_read + generated.cached_bytes, 1e-12));

  const Account step = account_of({.mode = Mode::train, .bytes = 8});
  const std::vector<Index> sources(16, 8), targets(16, 2);
  CHECK(step.flops == 3 * (evaluation::encoder_flops(cost(Shape::demo), sources) +
                           evaluation::decoder_flops(cost(Shape::demo), targets, sources, 384)));
  CHECK(step.text_bytes == 16 * 8);
}

TEST_CASE("a job that cannot be is refused", "[bench]") {
  ModelShelf shelf;
  CHECK_THROWS_AS(Work({.bytes = 0}, shelf), std::invalid_argument);
  CHECK_THROWS_AS(Work({.bytes = 4, .deletion = 1.5}, shelf), std::invalid_argument);
  CHECK_THROWS_AS(Work({.bytes = 4, .threads = 0}, shelf), std::invalid_argument);
  CHECK_THROWS_AS(Work({.mode = Mode::train, .bytes = 4, .deletion = 0.5}, shelf), std::invalid_argument);
}

TEST_CASE("the same seed makes the same model and text, another one others", "[bench]") {
  const Model a = make_model(Shape::demo), b = make_model(Shape::demo), c = make_model(Shape::demo, 2);
  CHECK(a.encoder.blocks[1].feed_forward.wi.weight.matrix() == b.encoder.blocks[1].feed_forward.wi.weight.matrix());
  CHECK(a.encoder.blocks[1].feed_forward.wi.weight.matrix() != c.encoder.blocks[1].feed_forward.wi.weight.matrix());
  CHECK_THAT(a.shared.weight.squaredNorm() / static_cast<float>(a.shared.weight.size()), WithinAbs(1, 0.02));
  CHECK(random_text({3, 0, 2}, 1) == random_text({3, 0, 2}, 1));
  CHECK(random_text({9}, 1).ids != random_text({9}, 2).ids);
}

TEST_CASE("medians", "[bench]") {
  CHECK(median({}) == 0);
  CHECK(median({3}) == 3);
  CHECK(median({9, 1, 5}) == 5);
  CHECK(median({9, 1, 5, 6}) == 5.5);
}

TEST_CASE("shares are of the largest limits and the median time", "[bench]") {
  Account account;
  account.flops = account.bound_flops = 100;
  Timing timing;
  timing.seconds = {2, 1, 50};
  timing.limits.measure(1, nullptr, 0.002);
  const double peak = timing.limits.peak();
  timing.limits.measure(1, nullptr, 0.002);
  CHECK(timing.limits.peak() >= peak);
  CHECK(timing.limits.bandwidth() == 0);
  CHECK_THAT(shares(account, timing).peak_share, WithinRel(50 / timing.limits.peak(), 1e-12));
  CHECK_THAT(shares(account, timing).floor_share, WithinRel(50 / timing.limits.peak(), 1e-12));
  CHECK(shares(account, timing).bandwidth_share == 0);
}

}  // namespace work_test
