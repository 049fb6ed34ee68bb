// What values need that hold a layer of a type which is not known where they are used: policies, recoveries.
#pragma once

#include <memory>

#include <merganser/core/parameter.hpp>
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

/// What backward of a layer of any kind reads; made by the first call of its owner, which holds the layer, and reused.
template <class Owner>
class AnyLayerCache {
 public:
  AnyLayerCache() = default;
  AnyLayerCache(const AnyLayerCache& other) : held_(other.held_ ? other.held_->copy() : nullptr) {}
  AnyLayerCache(AnyLayerCache&& other) noexcept = default;
  AnyLayerCache& operator=(const AnyLayerCache& other) {
    held_ = other.held_ ? other.held_->copy() : nullptr;
    return *this;
  }
  AnyLayerCache& operator=(AnyLayerCache&& other) noexcept = default;
  ~AnyLayerCache() = default;

  /// The cache of a layer of this type, or null.
  template <class Layer>
  const typename Layer::Cache* target() const {
    if (!held_ || held_->tag() != detail::tag_of<Layer>()) return nullptr;
    return &static_cast<const Held<Layer>&>(*held_).cache;
  }

 private:
  friend Owner;

  struct Any {
    virtual ~Any() = default;
    virtual std::unique_ptr<Any> copy() const = 0;
    virtual const void* tag() const = 0;
  };

  template <class Layer>
  struct Held final : Any {
    std::unique_ptr<Any> copy() const override { return std::make_unique<Held>(*this); }
    const void* tag() const override { return detail::tag_of<Layer>(); }

    typename Layer::Cache cache;
  };

  template <class Layer>
  typename Layer::Cache& of() {
    if (!held_ || held_->tag() != detail::tag_of<Layer>()) held_ = std::make_unique<Held<Layer>>();
    return static_cast<Held<Layer>&>(*held_).cache;
  }

  std::unique_ptr<Any> held_;
};

}  // namespace merganser::merge
