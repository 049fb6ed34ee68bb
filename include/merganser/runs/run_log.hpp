// A training run as JSON lines.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// One JSON object a line: those of steps have "step", others "event".
class RunLog {
 public:
  enum class Start {
    empty,   ///< the file is emptied
    append,  ///< it goes on behind what is there; a line that broke off is ended
  };

  /// Writes nothing.
  RunLog() = default;

  /// @param every steps between lines
  /// @throws IoError if it cannot be written
  RunLog(const std::filesystem::path& path, Index every, Start start = Start::empty)
      : path_(path.string()), every_(every) {
    const bool broken = start == Start::append && breaks_off(path);
    errno = 0;
    file_.open(path, std::ios::binary | (start == Start::append ? std::ios::app : std::ios::trunc));
    if (broken) file_ << "\n";
    if (!file_)
      throw IoError(path_, "log", errno != 0 ? std::generic_category().message(errno) : "nothing that can be opened",
                    "a file that can be written");
  }

  /// @param seconds since the run began
  void step(const training::StepReport& report, double seconds) {
    if (path_.empty() || report.step % every_ != 0) return;
    io::JsonObject object;
    object.set("step", report.step).set("loss", report.total);
    for (const auto& part : report.parts) object.set(std::string(part.name), part.value);
    object.set("accuracy", report.token_accuracy);
    object.set("deletion_rate", report.gated_batches > 0 ? std::optional(report.deletion_rate) : std::nullopt);
    object.set("alpha", report.alpha).set("learning_rate", report.learning_rate);
    object.set("gradient_norm", report.gradient_norm).set("source_tokens", report.source_tokens);
    write(object.set("seconds", seconds));
  }

  void event(std::string_view name, const io::JsonObject& details) {
    if (!path_.empty()) write(io::JsonObject().set("event", name).add(details));
  }

  /// Whether a file is a log or the beginning of one, such as a first line that broke off.
  static bool is_log(const std::filesystem::path& path) {
    constexpr std::string_view event = "{\"event\":", step = "{\"step\":";
    std::string found(event.size(), ' ');
    std::ifstream file(path, std::ios::binary);
    file.read(found.data(), static_cast<std::streamsize>(found.size()));
    found.resize(static_cast<std::size_t>(file.gcount()));
    return event.starts_with(found) || found.starts_with(step) || step.starts_with(found);
  }

 private:
  static bool breaks_off(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() <= 0) return false;
    file.seekg(-1, std::ios::end);
    return file.get() != '\n';
  }

  void write(const io::JsonObject& object) {
    file_ << object.line() << std::endl;
    if (!file_) throw IoError(path_, "log", "a failed write", "room on the disk");
  }

  std::string path_;
  Index every_ = 1;
  std::ofstream file_;
};

}  // namespace merganser::runs
