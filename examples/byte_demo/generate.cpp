// byte_demo generate: what a model answers, byte for byte.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>

#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/data/byte_stream.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/text_corpus.hpp>

#include <answer.hpp>
#include <generation_settings.hpp>
#include <options.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace data = merganser::data;

namespace {

std::atomic<bool> interrupted = false;

/// While it lives, the first Ctrl-C only sets `interrupted`; the second ends the program as ever.
class CatchInterrupt {
 public:
  CatchInterrupt() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigaction(SIGINT, &action, &before_);
  }
  CatchInterrupt(const CatchInterrupt&) = delete;
  CatchInterrupt& operator=(const CatchInterrupt&) = delete;
  ~CatchInterrupt() { sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

/// Writes at once. A reader that has left is no error: then std::cout is false.
void write_now(std::string_view bytes) {
  errno = 0;
  std::cout << bytes << std::flush;
  if (!std::cout && errno != EPIPE && errno != 0) throw std::runtime_error("cannot write to standard output");
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

/// One model and everything that is asked of it.
class Writer {
 public:
  explicit Writer(const GenerateOptions& options)
      : model_(load_model(options.model)),
        settings_(generation_settings(options, model_)),
        deletion_(deletion_options(options.rate, options.model)) {}

  /// A stream cannot take back what it has written.
  bool can_stream() const { return !settings_.beams; }

  /// How many prompts are answered together. A random gate draws for all of them, so it gets one at a time.
  std::size_t most_at_once() const {
    constexpr std::size_t plenty = 32;
    const auto& gates = model_.config().gates;
    const bool random =
        std::any_of(gates.begin(), gates.end(), [](const auto& gate) { return gate.kind == merge::GateKind::random; });
    return random ? 1 : plenty;
  }

  /// The answers to some prompts, of which the first has the given number.
  std::vector<std::string> answers(std::span<const std::string> prompts, std::size_t number) const {
    const merganser::TokenBatch ids = run(prompts, number, settings_.generation);
    std::vector<std::string> result;
    for (Index i = 0; i < ids.count(); ++i) result.push_back(data::ByteTokenizer().decode(ids.sequence(i)));
    return result;
  }

  /// Writes the answer to one prompt as it comes.
  void stream(const std::string& prompt, std::size_t number) const {
    data::ByteStream bytes;
    models::GenerationOptions generation = settings_.generation;
    generation.on_tokens = [&](Index, std::span<const merganser::TokenId> ids) {
      const std::string chunk = bytes.push(ids);
      if (!chunk.empty()) write_now(chunk);
      return interrupted || !std::cout ? models::Continue::no : models::Continue::yes;
    };
    run({&prompt, 1}, number, generation);
    write_now(bytes.finish());
  }

 private:
  merganser::TokenBatch run(std::span<const std::string> prompts, std::size_t number,
                            models::GenerationOptions generation) const {
    merganser::TokenBatch source;
    for (const std::string& prompt : prompts) {
      source.push_back(data::ByteTokenizer().encode(prompt));
      check_length(model_, source.offsets.length(source.count() - 1), "text");
    }
    merganser::Rng rng(generation.seed);
    Model::ForwardOptions forward;
    forward.deletion = deletion_;
    forward.rng = &rng;
    if (settings_.beams) return models::beam_search(model_, source, *settings_.beams, forward).best();
    generation.first_stream = number;
    return models::generate(model_, source, generation, forward).ids;
  }

  Model model_;
  GenerationSettings settings_;
  merge::DeletionOptions deletion_;
};

}  // namespace

std::string answer(const Model& model, std::span<const merganser::TokenId> source,
                   const models::GenerationOptions& options, const merge::DeletionOptions& deletion) {
  merganser::TokenBatch batch;
  batch.push_back(source);
  merganser::Rng rng(options.seed);
  Model::ForwardOptions forward;
  forward.deletion = deletion;
  forward.rng = &rng;
  return data::ByteTokenizer().decode(models::generate(model, batch, options, forward).ids.sequence(0));
}

void generate(const GenerateOptions& options) {
  if (!options.text && options.input_file.empty())
    throw std::invalid_argument("no text: give TEXT or --input-file FILE");
  merganser::ThreadPool pool(options.threads.value_or(merganser::hardware_threads()));
  const merganser::ExecutorScope scope(pool);
  const std::vector<std::string> prompts =
      options.text ? std::vector<std::string>{*options.text} : lines_of(data::read_text_file(options.input_file));
  const bool terminal = is_terminal(STDOUT_FILENO);
  const std::string_view end_of_answer = terminal || !options.text ? "\n" : "";
  const Writer writer(options);
  if (options.stream == StreamChoice::always && !writer.can_stream())
    throw std::invalid_argument("--stream: beams change their minds, so --beams prints whole answers; give --greedy");
  if (options.stream == StreamChoice::always ||
      (options.stream == StreamChoice::automatic && terminal && writer.can_stream())) {
    const CatchInterrupt catch_interrupt;
    for (std::size_t i = 0; i < prompts.size() && std::cout; ++i) {
      writer.stream(prompts[i], i);
      write_now(end_of_answer);
      if (interrupted) throw Interrupted();
    }
    return;
  }
  const std::size_t most = writer.most_at_once();
  for (std::size_t i = 0; i < prompts.size() && std::cout; i += most) {
    const auto some = std::span(prompts).subspan(i, std::min(most, prompts.size() - i));
    for (const std::string& written : writer.answers(some, i)) write_now(written + std::string(end_of_answer));
  }
}

}  // namespace byte_demo
