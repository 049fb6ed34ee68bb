#include <merganser/core/vector.hpp>

#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace vector_test {

using namespace merganser;

Vector<std::string> words() { return {"a string too long to lie in itself", "b", "c"}; }

/// Counts those that live; the copy of a bad one throws.
struct Counted {
  explicit Counted(bool is_bad = false) : bad(is_bad) { ++living; }
  Counted(const Counted& other) : bad(other.bad) {
    if (bad) throw std::runtime_error("bad");
    ++living;
  }
  Counted(Counted&& other) noexcept : bad(other.bad) { ++living; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --living; }

  bool bad;
  static inline int living = 0;
};

TEST_CASE("a vector does what a standard vector does") {
  std::mt19937 random(1);
  const auto draw = [&](std::ptrdiff_t below) { return static_cast<std::ptrdiff_t>(random()) % below; };
  Vector<std::string> ours;
  std::vector<std::string> standard;
  for (int step = 0; step < 2000; ++step) {
    const std::string value = std::to_string(draw(1000)) + std::string(static_cast<std::size_t>(draw(40)), 'x');
    switch (draw(11)) {
      case 0:
      case 1:
      case 2:
        ours.push_back(value);
        standard.push_back(value);
        break;
      case 3: {
        const std::ptrdiff_t size = draw(30);
        ours.resize(size);
        standard.resize(static_cast<std::size_t>(size));
        break;
      }
      case 4: {
        const std::ptrdiff_t size = draw(30);
        ours.resize(size, value);
        standard.resize(static_cast<std::size_t>(size), value);
        break;
      }
      case 5:
        if (standard.empty()) break;
        ours.pop_back();
        standard.pop_back();
        break;
      case 6:
        ours.append(standard.begin(), standard.end());
        standard.insert(standard.end(), ours.begin(), ours.begin() + std::ssize(standard));
        break;
      case 7:
        ours.assign(2, value);
        standard.assign(2, value);
        break;
      case 8: {
        const std::ptrdiff_t place = draw(ours.size() + 1), count = draw(3);
        const Vector<std::string> more(count, value);
        const std::string* const inserted = ours.insert(ours.begin() + place, more.begin(), more.end());
        REQUIRE(inserted == ours.begin() + place);
        standard.insert(standard.begin() + place, more.begin(), more.end());
        ours.insert(ours.begin() + place, value);
        standard.insert(standard.begin() + place, value);
        break;
      }
      case 9: {
        const std::ptrdiff_t first = draw(ours.size() + 1), last = first + draw(ours.size() - first + 1);
        const std::string* const after = ours.erase(ours.begin() + first, ours.begin() + last);
        REQUIRE(after == ours.begin() + first);
        standard.erase(standard.begin() + first, standard.begin() + last);
        break;
      }
      default:
        ours.emplace_back(3u, 'y');
        standard.emplace_back(3u, 'y');
    }
    if (standard.size() > 200) {
      ours.clear();
      standard.clear();
    }
    REQUIRE(ours.size() == std::ssize(standard));
    REQUIRE(ours.size() <= ours.capacity());
    REQUIRE(ours == standard);
    REQUIRE(ours.empty() == standard.empty());
    if (!ours.empty()) REQUIRE((ours.front() == standard.front() && ours.back() == standard.back()));
  }
}

TEST_CASE("plain values grow, shrink and start at 0") {
  Vector<int> numbers(3);
  REQUIRE(numbers == std::vector<int>{0, 0, 0});
  numbers = {1, 2, 3};
  for (int i = 4; i <= 100; ++i) numbers.push_back(i);
  for (int i = 0; i < 100; ++i) REQUIRE(numbers[i] == i + 1);
  numbers.resize(2);
  numbers.resize(5);
  REQUIRE(numbers == Vector<int>{1, 2, 0, 0, 0});
  numbers.resize(6, 7);
  REQUIRE(numbers.back() == 7);
  REQUIRE(Vector<bool>(3, true) == std::vector<int>{1, 1, 1});
  Vector<double> none;
  none.reserve(10);
  REQUIRE((none.empty() && none.capacity() == 10 && none.begin() == none.end()));
}

TEST_CASE("a vector is made of any range") {
  const std::list<int> list = {3, 1, 2};
  REQUIRE(Vector<long>(list.begin(), list.end()) == Vector<long>{3, 1, 2});
  std::istringstream text("5 6 7");
  REQUIRE(Vector<int>(std::istream_iterator<int>(text), {}) == Vector<int>{5, 6, 7});
  Vector<int> numbers = {1};
  numbers.assign(list.begin(), list.end());
  const std::span<const int> view = numbers;
  REQUIRE((view.data() == numbers.data() && view.size() == 3));
}

TEST_CASE("values are made where they stand") {
  struct Fixed {
    Fixed(int first, const std::string& second) : text(std::to_string(first) + second) {}
    Fixed(const Fixed&) = delete;
    std::string text;
  };
  const auto made = Vector<Fixed>::made_of(3, 7, std::string("a"));
  REQUIRE(made.size() == 3);
  for (const Fixed& value : made) CHECK(value.text == "7a");
  CHECK(Vector<Fixed>::made_of(0, 7, std::string()).empty());
  CHECK_THROWS_AS(Vector<Fixed>::made_of(-1, 7, std::string()), std::bad_array_new_length);

  const Counted good, bad(true);
  const int before = Counted::living;
  CHECK(Vector<Counted>::made_of(3, good).size() == 3);
  CHECK_THROWS_AS(Vector<Counted>::made_of(3, bad), std::runtime_error);
  CHECK(Counted::living == before);
}

TEST_CASE("vectors are equal by what they hold") {
  REQUIRE(Vector<int>{1, 2} == Vector<long>{1, 2});
  REQUIRE(Vector<int>{1, 2} != Vector<int>{1, 2, 3});
  REQUIRE(std::vector<int>{1, 2} == Vector<int>{1, 2});
  REQUIRE(std::vector<int>{1, 3} != Vector<int>{1, 2});
}

TEST_CASE("vectors have the order of their values") {
  REQUIRE(Vector<int>{1, 2} < Vector<int>{1, 3});
  REQUIRE(Vector<int>{1, 2} < Vector<int>{1, 2, 0});
  REQUIRE(Vector<int>{2} >= Vector<int>{1, 5});
  REQUIRE(std::set<Vector<std::string>>{words(), {}, words()}.size() == 2);
}

TEST_CASE("a value that is not there is an error") {
  Vector<std::string> strings = words();
  strings.at(2) += "d";
  REQUIRE(std::as_const(strings).at(2) == "cd");
  REQUIRE_THROWS_AS(strings.at(3), std::out_of_range);
  REQUIRE_THROWS_AS(strings.at(-1), std::out_of_range);
  REQUIRE_THROWS_AS(Vector<int>().at(0), std::out_of_range);
}

TEST_CASE("copies are deep, moves take the memory") {
  Vector<std::string> from = words();
  Vector<std::string> copy = from;
  copy[1] = "other";
  REQUIRE(from == words());
  const std::string* const memory = from.data();
  Vector<std::string> to = std::move(from);
  REQUIRE((to.data() == memory && to == words()));
  copy = std::move(to);
  REQUIRE((copy.data() == memory && copy == words()));
  copy = {};
  REQUIRE(copy.empty());
  Vector<std::string> self = words();
  const Vector<std::string>& same = self;
  self = same;
  REQUIRE(self == words());
  swap(self, copy);
  REQUIRE((self.empty() && copy == words()));
}

TEMPLATE_TEST_CASE("assigning gives back or reuses what was there", "", int, double) {
  Vector<TestType> numbers = {1, 2, 3};
  numbers = {4, 5, 6, 7};  // clang 14 forgot to destroy a parameter taken by value here, in templates
  REQUIRE(numbers == Vector<int>{4, 5, 6, 7});
  const TestType* const memory = numbers.data();
  numbers = {8};
  const Vector<TestType> more = {1, 2};
  numbers = more;
  REQUIRE((numbers == more && numbers.data() == memory));
  numbers = {};
  REQUIRE(numbers.empty());
}

TEST_CASE("a vector may push back a value of its own") {
  Vector<std::string> strings = words();
  while (strings.size() < strings.capacity()) strings.push_back("x");
  strings.push_back(strings[0]);
  REQUIRE(strings.back() == words()[0]);
  Vector<int> numbers = {1, 2, 3};
  while (numbers.size() < 100) numbers.push_back(numbers[numbers.size() - 3]);
  REQUIRE(numbers[99] == 1);
}

TEST_CASE("every function that takes a value takes one of the vector's own") {
  const auto full = [] {
    Vector<std::string> strings = words();
    strings.resize(strings.capacity(), "x");
    return strings;
  };
  const std::string first = words()[0];
  Vector<std::string> strings = full();
  strings.resize(3 * strings.size(), strings[0]);
  REQUIRE((strings.front() == first && strings.back() == first && strings[full().size()] == first));
  strings = full();
  strings.emplace_back(strings[0]);
  REQUIRE(strings.back() == first);
  strings = full();
  strings.insert(strings.begin() + 1, strings[0]);
  REQUIRE((strings[0] == first && strings[1] == first && strings[2] == "b"));
  strings = full();
  strings.assign(100, strings[0]);
  REQUIRE(strings == Vector<std::string>(100, first));
  strings.resize(2, strings[1]);
  REQUIRE(strings == Vector<std::string>(2, first));
  Vector<int> numbers(10, 7);
  numbers.resize(1000, numbers[9]);
  REQUIRE(numbers == Vector<int>(1000, 7));
}

TEST_CASE("values that cannot be copied move") {
  Vector<std::unique_ptr<int>> owners;
  for (int i = 0; i < 50; ++i) owners.push_back(std::make_unique<int>(i));
  for (int i = 0; i < 50; ++i) REQUIRE(*owners[i] == i);
  owners.resize(60);
  REQUIRE(owners.back() == nullptr);
}

TEST_CASE("every value is destroyed once, also when a copy throws") {
  {
    Vector<Counted> values(5);
    for (int i = 0; i < 20; ++i) values.emplace_back(i == 12);
    REQUIRE(Counted::living == 25);
    REQUIRE_THROWS_AS(Vector<Counted>(values), std::runtime_error);
    REQUIRE(Counted::living == 25);
    REQUIRE_THROWS_AS(values.push_back(values[17]), std::runtime_error);
    REQUIRE(values.size() == 25);
    values.resize(10);
    REQUIRE(Counted::living == 10);
    REQUIRE_THROWS_AS(Vector<Counted>(3, Counted(true)), std::runtime_error);
    REQUIRE(Counted::living == 10);
  }
  REQUIRE(Counted::living == 0);
}

TEST_CASE("more than there is room for is an error and changes nothing") {
  constexpr auto most = std::numeric_limits<std::ptrdiff_t>::max(), least = std::numeric_limits<std::ptrdiff_t>::min();
  for (const std::ptrdiff_t count : {most, most / 4, most / 32, std::ptrdiff_t{-1}, least}) {
    REQUIRE_THROWS_AS(Vector<int>(count), std::bad_alloc);
    Vector<int> numbers = {1, 2};
    REQUIRE_THROWS_AS(numbers.reserve(count), std::bad_alloc);
    REQUIRE_THROWS_AS(numbers.resize(count), std::bad_alloc);
    REQUIRE_THROWS_AS(numbers.resize(count, 3), std::bad_alloc);
    REQUIRE_THROWS_AS(numbers.assign(count, 3), std::bad_alloc);
    REQUIRE(numbers == Vector<int>{1, 2});
  }
}

TEST_CASE("vectors take their memory from the reserve") {
  if (!memory_is_reserved) return;
  std::thread([] {
    const int* memory = nullptr;
    {
      const Vector<int> numbers(1000, 3);
      memory = numbers.data();
      REQUIRE(MemoryReserve::kept() == 0);
    }
    REQUIRE(MemoryReserve::kept() > 0);
    const Vector<std::uint8_t> bytes(4000, 1);
    REQUIRE(static_cast<const void*>(bytes.data()) == memory);
  }).join();
}

}  // namespace vector_test
