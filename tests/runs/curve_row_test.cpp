#include <merganser/runs/curve_row.hpp>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>

namespace curve_row_test {

using namespace merganser::runs;

TEST_CASE("Every figure of a row has a name of its own", "[runs][curve]") {
  std::set<std::string> names;
  const RunRow row;
  RunRow::visit(row, [&](const std::string& name, const auto&) { CHECK(names.insert(name).second); });
  RowOrigin::visit(row.origin, [&](const std::string& name, const auto&) { CHECK(names.insert(name).second); });
  CHECK(names.size() == 56);
  for (const char* name : {"settings", "deletion_rate", "bits_per_byte_hard_reference", "class_accuracy_none",
                           "kept_premium_spread", "evaluation", "date"})
    CHECK(names.contains(name));
  std::vector<std::string> columns;
  const LanguageRow language;
  LanguageRow::visit(language, [&](const std::string& name, const auto&) { columns.push_back(name); });
  CHECK(columns.size() == 16);
  CHECK(columns.front() == "language");
}

TEST_CASE("A visitor changes what it is shown, and a new row has no figures", "[runs][curve]") {
  RunRow row;
  CHECK(std::isnan(row.hard.bits_per_byte));
  CHECK(std::isnan(row.late_rate));
  RunRow::visit(row, [](const std::string& name, auto& field) {
    if constexpr (std::is_same_v<decltype(field), double&>)
      if (name == "bits_per_byte_hard") field = 2;
  });
  CHECK(row.hard.bits_per_byte == 2);
}

}  // namespace curve_row_test
