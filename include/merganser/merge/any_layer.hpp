// What values need that hold a layer of a type which is not known where they are used: policies, recoveries.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/nn/weight.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A visitor of parameters whose type is not known where the layer was compiled.
template <Real Scalar>
class TensorVisitor {
 public:
  virtual void operator()(const ParameterName& name, Matrix<Scalar>& tensor) = 0;
  virtual void operator()(const ParameterName& name, RowVector<Scalar>& tensor) = 0;
  virtual void operator()(const ParameterName& name, ConvolutionWeight<Scalar>& tensor) = 0;
  virtual void absent(nn::Weight<Scalar>& weight, const ParameterName& name) = 0;

 protected:
  ~TensorVisitor() = default;
};

namespace detail {

/// Passes on to a visitor of whatever type.
template <Real Scalar, class Visitor>
class PassingVisitor final : public TensorVisitor<Scalar> {
 public:
  explicit PassingVisitor(Visitor& visitor) : visitor_(visitor) {}

  void operator()(const ParameterName& name, Matrix<Scalar>& tensor) override { visitor_(name, tensor); }
  void operator()(const ParameterName& name, RowVector<Scalar>& tensor) override { visitor_(name, tensor); }
  void operator()(const ParameterName& name, ConvolutionWeight<Scalar>& tensor) override { visitor_(name, tensor); }
  void absent(nn::Weight<Scalar>& weight, const ParameterName& name) override {
    if constexpr (requires { visitor_.absent(weight, name); })
      visitor_.absent(weight, name);
    else
      visitor_(name, weight.matrix());  // which says that there is none
  }

 private:
  Visitor& visitor_;
};

/// An address for each type. (Two constants of the same value could share one.)
template <class Type>
struct TypeTag {
  inline static char place = 0;
};

template <class Type>
const void* tag_of() {
  return &TypeTag<Type>::place;
}

}  // namespace detail

/// Holds a layer of any kind by value: copies are deep. The layer is behind an interface `Held` with `copy()` and
/// `find(tag)`, which gives a null pointer for tags of other types, and with what is called of the rest.
template <class Held>
class AnyLayer {
 public:
  /// Holds nothing: it can be assigned to and nothing else.
  AnyLayer() = default;

  explicit AnyLayer(std::unique_ptr<Held> layer) : held_(std::move(layer)) {}

  AnyLayer(const AnyLayer& other) : held_(other ? other.held_->copy() : nullptr) {}
  AnyLayer(AnyLayer&& other) noexcept = default;
  AnyLayer& operator=(const AnyLayer& other) {
    if (this != &other) held_ = other ? other.held_->copy() : nullptr;
    return *this;
  }
  AnyLayer& operator=(AnyLayer&& other) noexcept = default;
  ~AnyLayer() = default;

  /// Whether it holds something.
  explicit operator bool() const { return held_ != nullptr; }

  /// The layer, if it is of this type; null if not.
  template <class Layer>
  Layer* target() {
    return held_ ? static_cast<Layer*>(held_->find(detail::tag_of<Layer>())) : nullptr;
  }
  template <class Layer>
  const Layer* target() const {
    return const_cast<AnyLayer*>(this)->template target<Layer>();
  }

  void initialize(double factor, Rng& rng) { held("initialize").initialize(factor, rng); }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    detail::PassingVisitor<typename Held::ScalarType, std::remove_reference_t<Visitor>> passing(visitor);
    held("visit").visit(passing, prefix);
  }

 protected:
  /// For the function `where`.
  /// @throws std::invalid_argument if nothing is held
  Held& held(const char* where) const {
    if (!held_) throw_invalid_argument(Held::name, where, Held::nothing, "one that holds something");
    return *held_;
  }

 private:
  std::unique_ptr<Held> held_;
};

/// What backward of a layer of any kind reads; made by the first call of its owner, which holds the layer, and reused.
template <class Owner>
class AnyLayerCache {
 public:
  /// The cache of a layer of this type, or null.
  template <class Layer>
  const typename Layer::Cache* target() const {
    const auto* held = held_.template target<Held<Layer>>();
    return held != nullptr ? &held->cache : nullptr;
  }

 private:
  friend Owner;

  struct Any {
    virtual ~Any() = default;
    virtual std::unique_ptr<Any> copy() const = 0;
    virtual void* find(const void* tag) = 0;
  };

  template <class Layer>
  struct Held final : Any {
    std::unique_ptr<Any> copy() const override { return std::make_unique<Held>(*this); }
    void* find(const void* tag) override { return tag == detail::tag_of<Held>() ? this : nullptr; }

    typename Layer::Cache cache;
  };

  template <class Layer>
  typename Layer::Cache& of() {
    if (target<Layer>() == nullptr) held_ = AnyLayer<Any>(std::make_unique<Held<Layer>>());
    return held_.template target<Held<Layer>>()->cache;
  }

  AnyLayer<Any> held_;
};

}  // namespace merganser::merge
