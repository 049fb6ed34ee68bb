// The way back from fewer rows to all tokens: of any kind, by value.
#pragma once

#include <concepts>
#include <memory>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/any_layer.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What a recovery is told of the reduction that it undoes. It looks at what it is given and keeps nothing.
template <Real Scalar>
struct Reduced {
  const Matrix<Scalar>& x;             ///< [T x D] that came into the policy
  const TokenState<Scalar>& state;     ///< of the T tokens
  const Reduction<Scalar>& reduction;  ///< what went on: T' rows, their state, and the report

  /// Requires that x, state, reduction and the rows that come back, y [T' x any width], are of one batch.
  /// @throws std::invalid_argument if they are not, naming `where`
  void check(const char* where, const Matrix<Scalar>& y) const {
    check_equal(where, "x.rows()", x.rows(), state.total());
    check_equal(where, "reduction.state.offsets.count()", reduction.state.offsets.count(), state.offsets.count());
    check_equal(where, "y.rows()", y.rows(), reduction.state.total());
  }
};

/// Gradients of a loss with respect to what a recovery read. What is empty is 0.
template <Real Scalar>
struct RecoveryGradient {
  Matrix<Scalar> y;             ///< [T' x D'] the rows that come back
  Matrix<Scalar> x = {};        ///< [T x D] or empty: what came into the policy
  Matrix<Scalar> reduced = {};  ///< [T' x D] or empty: what went on
  Vector<Scalar> scores = {};   ///< [T] or empty: of the policy's report
};

/// Whether no row that comes back hangs on a token behind it, if the policy is causal.
template <class L>
bool recovers_causally(const L& layer) {
  if constexpr (requires { layer.is_causal(); })
    return layer.is_causal();
  else
    return L::is_causal;
}

/// A way back: y [T' x D'], the rows that a policy made or what became of them, to all T tokens [T x D']. Pads come
/// back as 0. It has parameters (`visit` and `initialize`) or none, and says in `is_causal`, a constant or a function,
/// what `recovers_causally` asks.
template <class L, class Scalar>
concept RecoveryLayer = std::copy_constructible<L> && std::default_initializable<typename L::Cache> &&
    requires(const L& layer, const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, typename L::Cache& cache,
             L& gradients) {
  { layer.forward(y, reduced) } -> std::same_as<Matrix<Scalar>>;
  { layer.forward(y, reduced, cache) } -> std::same_as<Matrix<Scalar>>;
  { layer.backward(y, std::as_const(cache), gradients) } -> std::same_as<RecoveryGradient<Scalar>>;
  { recovers_causally(layer) } -> std::same_as<bool>;
};

namespace detail {

/// What a recovery does, whatever it is.
template <Real Scalar, class Owner>
struct HeldRecovery {
  using ScalarType = Scalar;
  using Cache = AnyLayerCache<Owner>;

  static constexpr const char *name = "Recovery", *nothing = "an empty recovery";

  virtual ~HeldRecovery() = default;
  virtual std::unique_ptr<HeldRecovery> copy() const = 0;
  virtual void* find(const void* tag) = 0;
  virtual bool is_causal() const = 0;
  virtual void initialize(double factor, Rng& rng) = 0;
  virtual Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const = 0;
  virtual Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const = 0;
  virtual RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Owner& gradients) const = 0;
  virtual void visit(TensorVisitor<Scalar>& visitor, const ParameterName& prefix) = 0;
};

}  // namespace detail

/// Holds a recovery of any kind by value: copies are deep. A layer like any other, whose gradients are a Recovery of
/// the same kind.
template <Real Scalar>
class Recovery : public AnyLayer<detail::HeldRecovery<Scalar, Recovery<Scalar>>> {
 public:
  using ScalarType = Scalar;
  using Gradients = Recovery;

  /// What backward of this recovery reads; made by the first call and reused.
  using Cache = AnyLayerCache<Recovery>;

  Recovery() = default;

  template <class R>
  requires(!std::same_as<R, Recovery> && RecoveryLayer<R, Scalar>) Recovery(R recovery)
      : AnyLayer<Held>(std::make_unique<HeldLayer<R>>(std::move(recovery))) {}

  bool is_causal() const { return held("is_causal").is_causal(); }

  /// y [T' x D'] to [T x D'].
  /// @throws std::invalid_argument if y is not of the reduction
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    return held("forward").forward(y, reduced);
  }
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    return held("forward").forward(y, reduced, cache);
  }

  /// grad [T x D'].
  /// @throws std::invalid_argument if cache or gradients are of another recovery
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients& gradients) const {
    return held("backward").backward(grad, cache, gradients);
  }

 private:
  using Held = detail::HeldRecovery<Scalar, Recovery>;
  using AnyLayer<Held>::held;

  template <class Layer>
  struct HeldLayer final : Held {
    explicit HeldLayer(Layer held_layer) : layer(std::move(held_layer)) {}

    std::unique_ptr<Held> copy() const override { return std::make_unique<HeldLayer>(layer); }
    void* find(const void* tag) override { return tag == detail::tag_of<Layer>() ? &layer : nullptr; }
    bool is_causal() const override { return recovers_causally(layer); }
    void initialize([[maybe_unused]] double factor, [[maybe_unused]] Rng& rng) override {
      if constexpr (requires { layer.initialize(factor, rng); }) layer.initialize(factor, rng);
    }
    Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const override {
      return layer.forward(y, reduced);
    }
    Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const override {
      return layer.forward(y, reduced, cache.template of<Layer>());
    }
    RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache,
                                      Recovery& gradients) const override {
      const auto* own = cache.template target<Layer>();
      auto* sums = gradients.template target<Layer>();
      check_argument(own != nullptr, "Recovery::backward", "cache", "that of another recovery", "its own");
      check_argument(sums != nullptr, "Recovery::backward", "gradients", "those of another recovery", "its own");
      return layer.backward(grad, *own, *sums);
    }
    void visit([[maybe_unused]] TensorVisitor<Scalar>& visitor, [[maybe_unused]] const ParameterName& prefix) override {
      if constexpr (requires { layer.visit(visitor, prefix); }) layer.visit(visitor, prefix);
    }

    Layer layer;
  };
};

}  // namespace merganser::merge
