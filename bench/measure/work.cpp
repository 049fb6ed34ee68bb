// The measured jobs.
#include "work.hpp"

#include <algorithm>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/executor.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/cost_model.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sampling.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::bench {

struct Work::State {
  State(const Job& job, ModelShelf& shelf) : job_(job), pool_(job.threads) {
    check_argument(job.bytes >= 1, "Job", "bytes", job.bytes, "at least 1");
    check_argument(job.deletion >= 0 && job.deletion <= 1, "Job", "deletion", job.deletion, "a rate in [0, 1]");
    check_argument(job.mode != Mode::train || job.deletion == 0, "Job", "deletion", job.deletion,
                   "0, because training deletes softly: every row stays");
    check_argument(job.mode != Mode::train || job.weights == Weights::f32, "Job", "weights", name_of(job.weights),
                   "f32, which is what is trained");
    const ExecutorScope scope(pool_);
    if (job.deletion == 0) options_.deletion = merge::DeletionOptions::with_mode(merge::DeletionMode::none);
    if (job.deletion > 0) options_.deletion.target_rate = job.deletion;
    source_ = random_text(source_lengths(job), job.seed);
    target_ = random_text(target_lengths(job), job.seed + 1);
    if (job.mode == Mode::train) {
      trained_ = std::make_unique<Model>(make_model(job.shape, job.seed));
      trainer_ = std::make_unique<training::Trainer<Model>>(*trained_, training::Trainer<Model>::Config{});
      batch_ = {source_, target_};
    } else {
      model_ = shelf.get(job.shape, job.weights, job.seed);
    }
    if (job.mode == Mode::generate) note(model_->encode(source_, options_));
  }

  void run() {
    const ExecutorScope scope(pool_);
    switch (job_.mode) {
      case Mode::encode:
      case Mode::ragged:
        return note(model_->encode(source_, options_));
      case Mode::encode_decode: {
        auto output = model_->forward(source_, target_, options_);
        return note(std::move(output.encoded));
      }
      case Mode::generate:
        return generate();
      case Mode::train:
        trainer_->step(batch_);
        return;
    }
  }

  Account account() const {
    const Model::Config config = model_config(job_.shape);
    const auto shape = evaluation::cost_shape(config, model_policies(config));
    const Index vocabulary = config.vocabulary;
    const std::vector<Index> sources = source_lengths(job_), targets = target_lengths(job_);
    Account account;
    account.text_bytes = static_cast<double>(job_.mode == Mode::generate ? target_.total() : source_.total());
    if (job_.mode == Mode::train) {
      account.flops = account.bound_flops = evaluation::training_step_flops(shape, sources, targets, vocabulary);
      return account;
    }
    const Vector<Index>& kept = encoded_.deletion.kept;
    account.deletion_rate = encoded_.deletion.deletion_rate();
    if (job_.mode == Mode::generate) {
      account.flops = evaluation::decoder_flops(shape, targets, kept, vocabulary);
      account.bound_flops = evaluation::memory_projection_flops(shape, kept);
      account.bytes_read = weight_bytes(job_.weights) * evaluation::generation_step_weights(shape, vocabulary) *
                           static_cast<double>(generated_bytes);
      account.cached_bytes =
          sizeof(float) * evaluation::generation_cached_numbers(shape, generated_bytes, encoded_.hidden.total());
      return account;
    }
    account.flops = options_.deletion.mode == merge::DeletionMode::none
                        ? evaluation::encoder_flops(shape, sources)
                        : evaluation::encoder_flops(shape, sources, kept);
    if (job_.mode == Mode::encode_decode) account.flops += evaluation::decoder_flops(shape, targets, kept, vocabulary);
    account.bound_flops = account.flops;
    return account;
  }

  using Encoded = models::EncoderOutput<float>;

  void note(Encoded encoded) { encoded_ = std::move(encoded); }

  /// Greedy, as `models::generate` does it, but from what is encoded already and past any end id.
  void generate() const {
    auto state = model_->decoder.start(encoded_, generated_bytes);
    std::vector<TokenId> last{model_->config().start};
    for (Index step = 0; step < generated_bytes; ++step) {
      const Matrix<float> logits = model_->head(model_->decoder.step(model_->shared.forward(last), state));
      last[0] = models::most_probable<float>(logits.row(0));
    }
  }

  Job job_;
  ThreadPool pool_;
  Model::ForwardOptions options_;
  TokenBatch source_, target_;
  std::shared_ptr<const Model> model_;
  std::unique_ptr<Model> trained_;
  std::unique_ptr<training::Trainer<Model>> trainer_;
  data::Batch batch_;
  Encoded encoded_;
};

Work::Work(const Job& job, ModelShelf& shelf) : state_(std::make_unique<State>(job, shelf)) {}
Work::~Work() = default;

const Job& Work::job() const { return state_->job_; }
void Work::run() { state_->run(); }
Account Work::account() const { return state_->account(); }

std::vector<Index> Work::source_lengths(const Job& job) {
  if (job.mode == Mode::train) return std::vector<Index>(16, job.bytes);
  if (job.mode != Mode::ragged) return {job.bytes};
  std::vector<Index> lengths;
  for (Index i = 1; i <= 8; ++i) lengths.push_back(std::max<Index>(job.bytes * i / 8, 1));
  return lengths;
}

std::vector<Index> Work::target_lengths(const Job& job) {
  if (job.mode == Mode::train) return std::vector<Index>(16, std::max<Index>(job.bytes / 4, 1));
  if (job.mode == Mode::encode_decode) return {std::max<Index>(job.bytes * 189 / 1024, 1)};
  if (job.mode == Mode::generate) return {generated_bytes};
  return {};
}

}  // namespace merganser::bench
