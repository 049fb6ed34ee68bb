#include <merganser/runs/named_policies.hpp>

#include <string>
#include <vector>

#include <merganser/merge/policies/local_merging.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace named_policies_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

/// A policy of a user's own: every k-th token stays.
struct EveryKth {
  Index k = 2;

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    Vector<Index> kept;
    for (Index i = 0; i < tokens.count(); i += k) kept.push_back(i);
    return merge::MergePlan<Scalar>::keeping(kept, tokens.count());
  }
};

std::vector<NamedPolicy> known() {
  return {named_policy(
              "every_kth", "every k-th token stays", EveryKth{}, {.blocks = {1}},
              [](EveryKth& policy) { return OptionTable{count_option("k", "", OptionRole::model, policy.k, 1, 100)}; }),
          named_policy("local_merging", "alike neighbours become one", merge::LocalMerging{},
                       {.site = merge::Site::after_attention, .size_bias = merge::SizeBias::log_size},
                       [](merge::LocalMerging& policy) {
                         return OptionTable{number_option("rate", "", OptionRole::model, policy.budget.rate, 0, 1)};
                       })};
}

Vector<merge::Placement<float>> placed(const std::string& text, Index blocks = 4) {
  models::StackConfig stack;
  stack.blocks = blocks;
  return named_placements(text, stack, known());
}

std::string error_of(const std::string& text) {
  return argument_error([&] { placed(text); });
}

TEST_CASE("a policy is placed by its name", "[named_policies]") {
  const auto usual = placed("every_kth");
  REQUIRE(usual.size() == 1);
  CHECK(usual[0].block == 1);
  CHECK(usual[0].site == merge::Site::before_block);
  CHECK(usual[0].size_bias == merge::SizeBias::none);
  CHECK(usual[0].name == "every_kth");
  REQUIRE(usual[0].policy.target<EveryKth>() != nullptr);
  CHECK(usual[0].policy.target<EveryKth>()->k == 2);
  const auto other = placed("local_merging");
  CHECK(other[0].block == 2);
  CHECK(other[0].site == merge::Site::after_attention);
  CHECK(other[0].size_bias == merge::SizeBias::log_size);
  CHECK(placed("local_merging", 2)[0].block == 1);  // the last one, where there are fewer
}

TEST_CASE("settings of a policy by name", "[named_policies]") {
  const auto some = placed("every_kth:k=3,block=0/2,at=attention,size_bias=log_size");
  REQUIRE(some.size() == 2);
  for (const auto& placement : some) {
    CHECK(placement.policy.target<EveryKth>()->k == 3);
    CHECK(placement.site == merge::Site::after_attention);
    CHECK(placement.size_bias == merge::SizeBias::log_size);
    CHECK(placement.name == "every_kth:k=3,block=0/2,at=attention,size_bias=log_size");
  }
  CHECK(some[0].block == 0);
  CHECK(some[1].block == 2);
  const auto all = placed("every_kth:block=all", 3);
  REQUIRE(all.size() == 3);
  CHECK(all[2].block == 2);
  CHECK(placed("local_merging:rate=0.25")[0].policy.target<merge::LocalMerging>()->budget.rate == 0.25);
  CHECK(placed("every_kth:").size() == 1);
}

TEST_CASE("names and settings that there are not are named, with those that there are", "[named_policies]") {
  CHECK(error_of("nix") == "policy nix: there is none of this name; there are every_kth, local_merging");
  CHECK(error_of("") == "policy without a name: there is none of this name; there are every_kth, local_merging");
  const std::string keys = ", expected KEY=VALUE, of block, at, size_bias, k";
  CHECK(error_of("every_kth:j=2") == "policy every_kth: got the setting j=2" + keys);
  CHECK(error_of("every_kth:k") == "policy every_kth: got the setting k" + keys);
  CHECK(error_of("every_kth:k=0") == "policy every_kth: k: got 0, expected a whole number from 1 to 100");
  CHECK(error_of("every_kth:k=") == "policy every_kth: got the setting k" + keys);
  CHECK(error_of("every_kth:k=2,") == "policy every_kth: got the setting nothing" + keys);
  CHECK(error_of("every_kth:k=2,k=3") == "policy every_kth: k: got it twice, expected each setting once");
  CHECK(error_of("every_kth:block=0/") ==
        "policy every_kth: block: got 0/, expected all, or block numbers with / between them");
  CHECK(error_of("every_kth:at=x") == "policy every_kth: at: got x, expected one of entry, attention");
  CHECK(error_of("every_kth:block=4") == "policy every_kth: block: got 4, expected block numbers below 4");
  CHECK(error_of("every_kth:block=1/x") ==
        "policy every_kth: block: got x, expected all, or block numbers with / between them, from 0 to 1000");
}

TEST_CASE("a policy that removes nothing by itself must be told how much", "[named_policies]") {
  std::vector<NamedPolicy> some = known();
  some[1].amounts = {"rate", "least"};
  CHECK_NOTHROW(check_amount("every_kth", some));
  CHECK_NOTHROW(check_amount("local_merging:block=1,least=0.9", some));
  CHECK(argument_error([&] { check_amount("local_merging:block=1", some); }) ==
        "policy local_merging: nothing says how much goes; expected one of the settings rate, least");
}

TEST_CASE("help lists the settings of a policy", "[named_policies]") {
  std::vector<std::string> names;
  for (const Option& option : known()[1].settings()) names.push_back(option.name);
  CHECK(names == std::vector<std::string>{"block", "at", "size_bias", "rate"});
}

}  // namespace named_policies_test
