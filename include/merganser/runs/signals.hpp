// Ctrl-C: a job ends in order, a second one ends the program at once.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>

#include <signal.h>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// A signal ended a job that has tidied up and said all it had to say.
struct Interrupted {
  int signal = SIGINT;

  /// As a shell has it: 130 of Ctrl-C, 143 of SIGTERM.
  int exit_code() const { return 128 + signal; }
};

/// While it lives, the first SIGINT (Ctrl-C) or SIGTERM is only noted; a second one ends the program. One at a time.
class CatchSignals {
 public:
  CatchSignals() {
    caught_ = 0;
    for (std::size_t i = 0; i < signals.size(); ++i) {
      struct sigaction action {};
      action.sa_handler = note;
      action.sa_flags = SA_RESTART;
      sigaction(signals[i], &action, &before_[i]);
    }
  }
  CatchSignals(const CatchSignals&) = delete;
  CatchSignals& operator=(const CatchSignals&) = delete;
  ~CatchSignals() {
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before_[i], nullptr);
  }

  /// The signal that came, of the last that lived; 0: none.
  static int caught() { return caught_; }

 private:
  static constexpr std::array signals{SIGINT, SIGTERM};

  static void note(int number) {
    caught_ = number;
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    for (const int one : signals) sigaction(one, &action, nullptr);
  }

  static inline volatile std::sig_atomic_t caught_ = 0;
  std::array<struct sigaction, signals.size()> before_{};
};

}  // namespace merganser::runs
