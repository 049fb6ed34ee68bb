// A sequence of values whose memory comes from the reserve.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <merganser/core/memory_reserve.hpp>

namespace merganser::inline MERGANSER_ISA {

/// What a standard vector is, in memory from the reserve and with less to compile: iterators are pointers, values that
/// are plain bytes are copied as such, and bool is a value like any other.
///
/// Values move without throwing, by construction and by assignment. Growing leaves iterators behind that point nowhere.
/// Every function that takes one value takes one of the vector's own; a range must be of others.
template <class Value>
class Vector {
 public:
  using value_type = Value;
  using Index = std::ptrdiff_t;
  using size_type = Index;
  using difference_type = Index;
  using reference = Value&;
  using const_reference = const Value&;
  using iterator = Value*;
  using const_iterator = const Value*;

  Vector() = default;
  explicit Vector(Index count) : Vector() {  // delegating: what was made is destroyed if a value throws
    resize(count);
  }
  Vector(Index count, const Value& value) : Vector() { resize(count, value); }
  Vector(std::initializer_list<Value> values) : Vector() { append(values.begin(), values.end()); }
  template <std::input_iterator Iterator>
  Vector(Iterator first, Iterator last) : Vector() {
    append(first, last);
  }
  Vector(const Vector& other) : Vector() { append(other.begin(), other.end()); }
  Vector(Vector&& other) noexcept : Vector() { swap(other); }
  Vector& operator=(const Vector& other) {
    if (this != &other) assign(other.begin(), other.end());
    return *this;
  }
  Vector& operator=(Vector&& other) noexcept {
    Vector taken = std::move(other);
    swap(taken);
    return *this;
  }
  Vector& operator=(std::initializer_list<Value> values) {
    assign(values.begin(), values.end());
    return *this;
  }
  ~Vector() {
    clear();
    MemoryReserve::release(data_);
  }

  /// So many values, each made of the same arguments where it stands: nothing is copied or moved.
  template <class... Arguments>
  static Vector made_of(Index count, const Arguments&... arguments) {
    Vector result;
    if (count < 0 || count > largest) throw std::bad_array_new_length();
    result.data_ = static_cast<Value*>(MemoryReserve::allocate(bytes(count)));
    for (result.capacity_ = count; result.size_ < count; ++result.size_)
      ::new (result.data_ + result.size_) Value(arguments...);
    return result;
  }

  Value* data() { return data_; }
  const Value* data() const { return data_; }
  Index size() const { return size_; }
  Index capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }

  Value* begin() { return data_; }
  Value* end() { return data_ + size_; }
  const Value* begin() const { return data_; }
  const Value* end() const { return data_ + size_; }

  Value& operator[](Index i) { return data_[i]; }
  const Value& operator[](Index i) const { return data_[i]; }
  /// @throws std::out_of_range if there is no such value
  const Value& at(Index i) const {
    if (i < 0 || i >= size_)
      throw std::out_of_range("Vector::at: got " + std::to_string(i) + " of " + std::to_string(size_));
    return data_[i];
  }
  Value& at(Index i) { return const_cast<Value&>(std::as_const(*this).at(i)); }
  Value& front() { return data_[0]; }
  const Value& front() const { return data_[0]; }
  Value& back() { return data_[size_ - 1]; }
  const Value& back() const { return data_[size_ - 1]; }

  /// @throws std::bad_alloc if there is not so much memory or the number is negative; nothing has changed then
  void reserve(Index capacity) {
    if (capacity < 0 || capacity > largest) throw std::bad_array_new_length();
    if (capacity <= capacity_) return;
    static_assert(alignof(Value) <= MemoryReserve::alignment && std::is_nothrow_move_constructible_v<Value>);
    if constexpr (std::is_trivially_copyable_v<Value>) {
      data_ = static_cast<Value*>(MemoryReserve::exchange(data_, bytes(size_), bytes(capacity)));
    } else {
      auto* const memory = static_cast<Value*>(MemoryReserve::allocate(bytes(capacity)));
      for (Index i = 0; i < size_; ++i) {
        ::new (memory + i) Value(std::move(data_[i]));
        data_[i].~Value();
      }
      MemoryReserve::release(data_);
      data_ = memory;
    }
    capacity_ = capacity;
  }

  template <class... Arguments>
  Value& emplace_back(Arguments&&... arguments) {
    push_back(Value(std::forward<Arguments>(arguments)...));
    return back();
  }
  void push_back(const Value& value) { push_back(Value(value)); }  // a copy: it may lie in the old memory
  void push_back(Value&& value) {
    if (size_ == capacity_) reserve(std::max<Index>(1, 2 * capacity_));
    ::new (data_ + size_) Value(std::move(value));
    ++size_;
  }

  void pop_back() { shrink(size_ - 1); }
  void clear() { shrink(0); }

  /// New values are 0 or what their constructor makes them.
  /// @throws what `reserve` throws; nothing has changed then
  void resize(Index size) {
    grow(size);
    shrink(size);
    for (; size_ < size; ++size_) ::new (data_ + size_) Value();
  }
  void resize(Index size, const Value& value) {
    const std::uintptr_t distance =
        reinterpret_cast<std::uintptr_t>(std::addressof(value)) - reinterpret_cast<std::uintptr_t>(data_);
    const bool own = distance < bytes(size_);  // then it moves with the others
    grow(size);
    shrink(size);
    const Value& source = own ? data_[distance / sizeof(Value)] : value;
    for (; size_ < size; ++size_) ::new (data_ + size_) Value(source);
  }
  void assign(Index size, const Value& value) { *this = Vector(size, value); }
  template <std::input_iterator Iterator>
  void assign(Iterator first, Iterator last) {
    clear();
    append(first, last);
  }

  /// Adds values at the end.
  template <std::input_iterator Iterator>
  void append(Iterator first, Iterator last) {
    if constexpr (std::forward_iterator<Iterator>) grow(size_ + std::distance(first, last));
    for (; first != last; ++first) {
      if constexpr (!std::forward_iterator<Iterator>) grow(size_ + 1);
      ::new (data_ + size_) Value(static_cast<Value>(*first));
      ++size_;
    }
  }

  template <std::input_iterator Iterator>
  iterator insert(const_iterator place, Iterator first, Iterator last) {
    static_assert(std::is_nothrow_move_assignable_v<Value>);
    const Index at = place - begin(), before = size_;
    append(first, last);
    std::rotate(begin() + at, begin() + before, end());
    return begin() + at;
  }
  iterator insert(const_iterator place, Value value) {
    Value* const moved = &value;
    return insert(place, std::move_iterator(moved), std::move_iterator(moved + 1));
  }
  iterator erase(const_iterator first, const_iterator last) {
    static_assert(std::is_nothrow_move_assignable_v<Value>);
    Value* const place = begin() + (first - begin());
    if (first != last) shrink(std::move(begin() + (last - begin()), end(), place) - begin());
    return place;
  }
  iterator erase(const_iterator place) { return erase(place, place + 1); }

  void swap(Vector& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  friend void swap(Vector& a, Vector& b) noexcept { a.swap(b); }

 private:
  static constexpr Index largest = std::numeric_limits<Index>::max() / static_cast<Index>(2 * sizeof(Value));
  static std::size_t bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(Value); }

  void shrink(Index size) {
    if constexpr (std::is_trivially_destructible_v<Value>)
      size_ = std::min(size_, size);
    else
      while (size_ > size) data_[--size_].~Value();
  }
  void grow(Index size) {
    if (size < 0 || size > capacity_) reserve(size < 0 ? size : std::max(size, 2 * capacity_));
  }
  Value* data_ = nullptr;
  Index size_ = 0, capacity_ = 0;
};

/// Also with what another kind of vector holds.
template <class Value, class Other>
bool operator==(const Vector<Value>& a, const Other& b) requires requires {
  b.begin() != b.end();
}
{ return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

template <class Value>
auto operator<=>(const Vector<Value>& a, const Vector<Value>& b) requires requires(const Value& value) {
  value < value;
}
{
  const auto compare = [](const Value& x, const Value& y) {
    if constexpr (std::three_way_comparable<Value>)
      return x <=> y;
    else  // strings of libc++ before 16
      return x < y ? std::weak_ordering::less : y < x ? std::weak_ordering::greater : std::weak_ordering::equivalent;
  };
  using Order = decltype(compare(*a.begin(), *b.begin()));
  for (std::ptrdiff_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (const Order order = compare(a[i], b[i]); order != 0) return order;
  return Order(a.size() <=> b.size());
}

}  // namespace merganser
