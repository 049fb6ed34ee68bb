// A training run as JSON lines.
#include <run_log.hpp>

#include <cerrno>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>

namespace byte_demo {

using merganser::IoError;

namespace {

bool breaks_off(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() <= 0) return false;
  file.seekg(-1, std::ios::end);
  return file.get() != '\n';
}

}  // namespace

RunLog::RunLog(const std::string& path, Index every, Start start) : path_(path), every_(every) {
  if (path_.empty()) return;
  const bool broken = start == Start::append && breaks_off(path_);
  errno = 0;
  file_.open(path_, std::ios::binary | (start == Start::append ? std::ios::app : std::ios::trunc));
  if (broken) file_ << "\n";
  if (!file_)
    throw IoError(path_, "--log", errno != 0 ? std::generic_category().message(errno) : "nothing that can be opened",
                  "a file that can be written");
}

void RunLog::step(const training::StepReport& report, double seconds) {
  if (path_.empty() || report.step % every_ != 0) return;
  nlohmann::ordered_json object;
  object["step"] = report.step;
  object["loss"] = report.total;
  for (const auto& part : report.parts) object[part.name] = part.value;
  object["accuracy"] = report.token_accuracy;
  object["deletion_rate"] = report.gated_batches > 0 ? nlohmann::ordered_json(report.deletion_rate) : nullptr;
  object["alpha"] = report.alpha;
  object["learning_rate"] = report.learning_rate;
  object["gradient_norm"] = report.gradient_norm;
  object["source_tokens"] = report.source_tokens;
  object["seconds"] = seconds;
  write(object);
}

void RunLog::event(const std::string& name, const nlohmann::ordered_json& details) {
  if (path_.empty()) return;
  nlohmann::ordered_json object;
  object["event"] = name;
  object.update(details);
  write(object);
}

void RunLog::write(const nlohmann::ordered_json& object) {
  file_ << object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
  if (!file_) throw IoError(path_, "--log", "a failed write", "room on the disk");
}

}  // namespace byte_demo
