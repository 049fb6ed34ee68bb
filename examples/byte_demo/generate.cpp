// byte_demo generate: what a model answers.
#include <algorithm>
#include <cerrno>
#include <iostream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <merganser/core/random.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/data/byte_stream.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/evaluation/cost_model.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/terminal_text.hpp>

#include <answer.hpp>
#include <model.hpp>
#include <options.hpp>
#include <text_view.hpp>

namespace byte_demo {

namespace {

using runs::CatchSignals;
using runs::Prompts;

/// Writes at once. A reader that has left is no error: then std::cout is false.
void write_now(std::string_view bytes) {
  errno = 0;
  std::cout << bytes << std::flush;
  if (!std::cout && errno != EPIPE && errno != 0) throw std::runtime_error("cannot write to standard output");
}

/// Writes what a model says at once: its bytes, or on a terminal what can be shown.
void write_answer(const std::string& bytes) {
  static const bool terminal = runs::is_terminal(STDOUT_FILENO);
  write_now(terminal ? runs::showable_text(bytes) : bytes);
}

std::vector<std::string> lines_of(std::string_view text) {
  const bool ended = text.ends_with('\n');
  std::vector<std::string> lines = merganser::split(text, '\n');
  for (std::string& line : lines)
    if (line.ends_with('\r') && (ended || &line != &lines.back())) line.pop_back();
  return lines;
}

std::string read_lines(const GenerateOptions& options) {
  if (!options.input_file.empty()) return data::read_text(options.input_file);
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (text.empty())
    throw std::invalid_argument("no text: give TEXT, --input-file FILE, or a text a line on standard input");
  return text;
}

/// A line for people, beside the answers.
void tell(std::string_view sentence) {
  std::cerr << runs::wrapped("byte_demo: " + std::string(sentence), runs::prose_columns(STDERR_FILENO));
}

/// Says so before a text of many tokens is read at once.
void warn_of_length(const Model& model, Index tokens) {
  constexpr Index plenty = 4096, unit = 1000;
  if (tokens <= plenty) return;
  const evaluation::CostShape shape = evaluation::cost_shape(model.config());
  const double ratio = evaluation::encoder_flops(shape, std::vector<Index>{tokens}) /
                       evaluation::encoder_flops(shape, std::vector<Index>{unit});
  tell("A text of " + std::to_string(tokens) + " tokens is read at once, " + merganser::fixed_text(ratio, 0) +
       " times the work of 1,000: attention grows with the square");
}

/// One model and everything that is asked of it.
class Writer {
 public:
  Writer(const GenerateOptions& options, std::span<const std::string> texts)
      : model_(load_model(options.model, options.rate)),
        task_(runs::task_of(options.model.directory, model_)),
        prompts_(runs::make_prompts(texts, task_, options.reading, options.request.seed)),
        settings_(settings_of(options)),
        deletion_(runs::deletion_options(options.rate, options.model.directory, model_, print_warning)) {
    if (options.reading == runs::TextReading::verbatim) task_.special = {};
    for (const Prompts::Piece& piece : prompts_.pieces)
      runs::check_length(model_, static_cast<Index>(piece.source.size()), "text");
  }

  /// What was made of the texts, and what that will cost.
  void introduce() const {
    for (const std::string& notice : prompts_.notices) tell(notice);
    if (!prompts_.given.empty()) print_view(std::cerr, "in   ", prompts_.given, runs::prose_columns(STDERR_FILENO));
    warn_of_length(model_, prompts_.longest());
  }

  /// A stream cannot take back what it has written.
  bool can_stream() const { return !settings_.beams; }

  /// How many pieces are answered together. A random gate draws for all of them, so it gets one at a time.
  std::size_t most_at_once() const {
    constexpr std::size_t plenty = 32;
    const auto& policies = model_.encoder.policies;
    const bool random = std::any_of(policies.begin(), policies.end(), [](const auto& placement) {
      return placement.policy.template target<merge::RandomGate>() != nullptr;
    });
    return random ? 1 : plenty;
  }

  std::size_t pieces() const { return prompts_.pieces.size(); }

  /// Whether the answer to a text ends with that to this piece of it.
  bool ends_text(std::size_t piece) const {
    return piece + 1 == pieces() || prompts_.pieces[piece].text != prompts_.pieces[piece + 1].text;
  }

  /// The answers to pieces from the given one on.
  std::vector<std::string> answers(std::size_t first, std::size_t count) {
    const merganser::TokenBatch ids = run(first, count, settings_.generation);
    std::vector<std::string> result;
    for (Index i = 0; i < ids.count(); ++i) {
      data::ByteStream bytes(task_.special);
      result.push_back(bytes.push(ids.sequence(i)));
      result.back() += bytes.finish();
    }
    return result;
  }

  /// Writes the answer to one piece as it comes.
  void stream(std::size_t piece) {
    data::ByteStream bytes(task_.special);
    models::GenerationOptions generation = settings_.generation;
    generation.on_tokens = [&](Index, std::span<const merganser::TokenId> ids) {
      const std::string chunk = bytes.push(ids);
      if (!chunk.empty()) write_answer(chunk);
      return CatchSignals::caught() != 0 || !std::cout ? merganser::Continue::no : merganser::Continue::yes;
    };
    run(piece, 1, generation);
    write_answer(bytes.finish());
  }

  /// Says so if answers were cut at a length that nobody asked for.
  void finish(const GenerateOptions& options) const {
    if (cut_ > 0 && !options.request.max_length && task_.name != "denoise")
      tell(std::to_string(cut_) + (cut_ == 1 ? " answer was" : " answers were") + " cut at " +
           std::to_string(settings_.generation.max_length) + " tokens; --max-length N allows others");
  }

 private:
  io::GenerationSettings settings_of(const GenerateOptions& options) const {
    const io::GenerationRequest& asked = options.request;
    if (asked.max_length) runs::check_length(model_, *asked.max_length, "--max-length");
    const auto settings =
        io::generation_settings(options.model.directory, model_, asked, usual_length(), print_warning);
    if (asked.length_penalty && !settings.beams)
      throw std::invalid_argument("--length-penalty: nothing is searched: give --beams N");
    return settings;
  }

  /// Text that is put right is about as long as it was.
  Index usual_length() const {
    constexpr Index usual = 256, start_and_slips = 4;
    return task_.name == "denoise" ? prompts_.longest() + start_and_slips : usual;
  }

  merganser::TokenBatch run(std::size_t first, std::size_t count, models::GenerationOptions generation) {
    merganser::TokenBatch source;
    for (const Prompts::Piece& piece : std::span(prompts_.pieces).subspan(first, count)) source.push_back(piece.source);
    merganser::Rng rng(generation.seed);
    Model::ForwardOptions forward;
    forward.deletion = deletion_;
    forward.rng = &rng;
    if (settings_.beams) return models::beam_search(model_, source, *settings_.beams, forward).best();
    generation.first_stream = first;
    models::Generation<float> written = models::generate(model_, source, generation, forward);
    cut_ += std::count(written.endings.begin(), written.endings.end(), models::Ending::max_length);
    return std::move(written.ids);
  }

  Model model_;
  io::ModelTask task_;
  Prompts prompts_;
  io::GenerationSettings settings_;
  merge::DeletionOptions deletion_;
  std::ptrdiff_t cut_ = 0;  // answers
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
  const models::Generation generation = models::generate(model, batch, options, forward);
  return data::ByteTokenizer().decode(generation.ids.sequence(0));
}

void generate(const GenerateOptions& options) {
  if (!options.text && options.input_file.empty() && runs::is_terminal(STDIN_FILENO))
    throw std::invalid_argument("no text: give TEXT, --input-file FILE, or a text a line on standard input");
  const runs::ProgramThreads threads(options.threads, std::cerr);
  const std::vector<std::string> prompts =
      options.text ? std::vector<std::string>{*options.text} : lines_of(read_lines(options));
  const bool terminal = runs::is_terminal(STDOUT_FILENO);
  const std::string end_of_answer = terminal || !options.text ? "\n" : "";
  Writer writer(options, prompts);
  if (options.rate.milliseconds)
    tell(
        "--milliseconds-per-kilobyte: kept for reading a text whose answer is given, as calibrate measures; writing an "
        "answer takes longer");
  if (options.stream == StreamChoice::always && !writer.can_stream())
    throw std::invalid_argument("--stream: beams change their minds, so --beams prints whole answers; give --greedy");
  writer.introduce();
  if (options.stream == StreamChoice::always ||
      (options.stream == StreamChoice::automatic && terminal && writer.can_stream())) {
    const CatchSignals signals;
    for (std::size_t i = 0; i < writer.pieces() && std::cout; ++i) {
      writer.stream(i);
      const int signal = CatchSignals::caught();
      if (signal != 0 || writer.ends_text(i)) write_now(end_of_answer);
      if (signal != 0) throw runs::Interrupted{signal};
    }
  } else {
    const std::size_t most = writer.most_at_once();
    for (std::size_t i = 0; i < writer.pieces() && std::cout; i += most) {
      const std::vector<std::string> written = writer.answers(i, std::min(most, writer.pieces() - i));
      for (std::size_t k = 0; k < written.size(); ++k) {
        write_answer(written[k]);
        if (writer.ends_text(i + k)) write_now(end_of_answer);
      }
    }
  }
  writer.finish(options);
}

}  // namespace byte_demo
