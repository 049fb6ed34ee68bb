// A policy of any kind, by value.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/any_layer.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/plan_policy.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Anything that is a policy for numbers of this type: a layer, a gate or a planner.
template <class P, class Scalar>
concept AnyPolicy = PolicyLayer<P, Scalar> || Gate<P, Scalar> || Planner<P, Scalar>;

namespace detail {

/// What a policy does, whatever it is.
template <Real Scalar, class Owner>
struct HeldPolicy {
  using ScalarType = Scalar;
  using Cache = AnyLayerCache<Owner>;

  static constexpr const char *name = "Policy", *nothing = "an empty policy";

  virtual ~HeldPolicy() = default;
  virtual std::unique_ptr<HeldPolicy> copy() const = 0;
  virtual void* find(const void* tag) = 0;
  virtual PolicyTraits traits() const = 0;
  virtual std::optional<double> expected_rate() const = 0;
  virtual std::optional<Budget> own_budget() const = 0;
  virtual void initialize(double factor, Rng& rng) = 0;
  virtual Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const = 0;
  virtual Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng,
                                    Cache& cache) const = 0;
  virtual TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache,
                                         Owner& gradients) const = 0;
  virtual void visit(TensorVisitor<Scalar>& visitor, const ParameterName& prefix) = 0;
};

}  // namespace detail

/// Holds a policy of any kind by value: copies are deep. A layer like any other, whose gradients are a Policy of the
/// same kind. `target` finds a gate or a planner as what it was given and as what it became (`GatedDeletion`,
/// `PlanPolicy`).
template <Real Scalar>
class Policy : public AnyLayer<detail::HeldPolicy<Scalar, Policy<Scalar>>> {
 public:
  using ScalarType = Scalar;
  using Gradients = Policy;

  /// What backward of this policy reads; made by the first call and reused.
  using Cache = AnyLayerCache<Policy>;

  Policy() = default;

  template <class P>
  requires(!std::same_as<P, Policy> && AnyPolicy<P, Scalar>) Policy(P policy)
      : AnyLayer<Held>(hold<TrainableLayer>(std::move(policy))) {}

  /// One that only runs, as a model that is loaded for inference needs it: it has less to compile.
  template <class P>
  requires AnyPolicy<P, Scalar>
  static Policy for_inference(P policy) { return Policy(hold<RunningLayer>(std::move(policy))); }

  PolicyTraits traits() const { return held("traits").traits(); }

  /// The share that it deletes by its own settings, where these say one.
  std::optional<double> expected_rate() const { return held("expected_rate").expected_rate(); }

  /// What it removes by its own settings, where these are a `Budget` that says something.
  std::optional<Budget> own_budget() const { return held("own_budget").own_budget(); }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    return held("forward").forward(std::move(x), context);
  }
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    return held("forward").forward(std::move(x), context, rng, cache);
  }

  /// @throws std::invalid_argument if cache or gradients are of another policy
  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    return held("backward").backward(std::move(grad), cache, gradients);
  }

 private:
  using Held = detail::HeldPolicy<Scalar, Policy>;
  using AnyLayer<Held>::held;

  explicit Policy(std::unique_ptr<Held> layer) : AnyLayer<Held>(std::move(layer)) {}

  /// Runs and cannot be trained: code of training is compiled for those that are trained only.
  template <class Layer>
  struct RunningLayer : Held {
    explicit RunningLayer(Layer held_layer) : layer(std::move(held_layer)) {}

    std::unique_ptr<Held> copy() const override { return std::make_unique<RunningLayer>(layer); }
    void* find(const void* tag) override {
      if (tag == detail::tag_of<Layer>()) return &layer;
      if constexpr (requires { typename Layer::Inner; })
        if (tag == detail::tag_of<typename Layer::Inner>()) return &layer.inner();
      return nullptr;
    }
    PolicyTraits traits() const override { return traits_of(layer); }
    std::optional<double> expected_rate() const override {
      if constexpr (requires { layer.inner().expected_rate(); })
        return layer.inner().expected_rate();
      else if constexpr (requires { layer.expected_rate(); })
        return layer.expected_rate();
      else
        return std::nullopt;
    }
    std::optional<Budget> own_budget() const override {
      const auto of = []([[maybe_unused]] const auto& policy) -> std::optional<Budget> {
        if constexpr (requires { policy.own_budget(); }) {
          return policy.own_budget();
        } else if constexpr (requires {
                               { policy.budget } -> std::same_as<const Budget&>;
                             }) {
          if (policy.budget.rate || policy.budget.tokens) return policy.budget;
        }
        return std::nullopt;
      };
      if constexpr (requires { layer.inner(); })
        return of(layer.inner());
      else
        return of(layer);
    }
    void initialize(double, Rng&) override { refuse(); }
    Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const override {
      return layer.forward(std::move(x), context);
    }
    Reduction<Scalar> forward(Matrix<Scalar>, const PolicyContext<Scalar>&, Rng&, Cache&) const override { refuse(); }
    TokenGradient<Scalar> backward(ReductionGradient<Scalar>, const Cache&, Policy&) const override { refuse(); }
    void visit([[maybe_unused]] TensorVisitor<Scalar>& visitor, [[maybe_unused]] const ParameterName& prefix) override {
      if constexpr (requires { layer.visit(visitor, prefix); }) layer.visit(visitor, prefix);
    }

    Layer layer;

   private:
    [[noreturn]] static void refuse() {
      throw_invalid_argument("Policy", "policy", "one made for inference", "one that can be trained");
    }
  };

  template <class Layer>
  struct TrainableLayer final : RunningLayer<Layer> {
    using RunningLayer<Layer>::RunningLayer;
    using RunningLayer<Layer>::layer;
    using RunningLayer<Layer>::forward;

    std::unique_ptr<Held> copy() const override { return std::make_unique<TrainableLayer>(layer); }
    void initialize([[maybe_unused]] double factor, [[maybe_unused]] Rng& rng) override {
      if constexpr (requires { layer.initialize(factor, rng); }) layer.initialize(factor, rng);
    }
    Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng,
                              Cache& cache) const override {
      return layer.forward(std::move(x), context, rng, cache.template of<Layer>());
    }
    TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache,
                                   Policy& gradients) const override {
      const auto* own = cache.template target<Layer>();
      auto* sums = gradients.template target<Layer>();
      check_argument(own != nullptr, "Policy::backward", "cache", "that of another policy", "its own");
      check_argument(sums != nullptr, "Policy::backward", "gradients", "those of another policy", "its own");
      return layer.backward(std::move(grad), *own, *sums);
    }
  };

  template <template <class> class Kind, class P>
  static std::unique_ptr<Held> hold(P policy) {
    if constexpr (PolicyLayer<P, Scalar>)
      return std::make_unique<Kind<P>>(std::move(policy));
    else if constexpr (Gate<P, Scalar>)
      return std::make_unique<Kind<GatedDeletion<Scalar, P>>>(GatedDeletion<Scalar, P>(std::move(policy)));
    else
      return std::make_unique<Kind<PlanPolicy<Scalar, P>>>(PlanPolicy<Scalar, P>(std::move(policy)));
  }
};

}  // namespace merganser::merge
