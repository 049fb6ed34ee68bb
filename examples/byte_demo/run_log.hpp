// A training run as JSON lines.
#pragma once

#include <fstream>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <merganser/training/trainer.hpp>

#include <options.hpp>

namespace byte_demo {

/// One JSON object a line: those of steps have "step", others "event".
class RunLog {
 public:
  enum class Start {
    empty,   ///< the file is emptied
    append,  ///< it goes on behind what is there; a line that broke off is ended
  };

  /// No path: writes nothing. @throws merganser::IoError if it cannot be written
  RunLog(const std::string& path, Index every, Start start = Start::empty);

  void step(const training::StepReport& report, double seconds);
  void event(const std::string& name, const nlohmann::ordered_json& details);

 private:
  void write(const nlohmann::ordered_json& object);

  std::string path_;
  Index every_;
  std::ofstream file_;
};

}  // namespace byte_demo
