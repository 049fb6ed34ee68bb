// The models of the demo, as the command line names them.
#include <model.hpp>

#include <cmath>
#include <cstddef>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/runs/policy_catalogue.hpp>
#include <merganser/runs/saved_model.hpp>

namespace byte_demo {

namespace {

io::LoadModelOptions load_options(const ModelSource& source) {
  io::LoadModelOptions options;
  options.missing = {source.delete_gate_layer, source.sigmoid_mask_scale, source.deletion_threshold,
                     source.deletion_type};
  if (source.any_tokenizer) options.foreign_tokenizer = io::ForeignTokenizer::accept;
  options.named_policies = named_policies();
  options.on_warning = print_warning;
  return options;
}

/// What `load` makes; errors that name options of the library name those of the program instead.
template <class Load>
Model loaded(const Load& load) {
  try {
    return load();
  } catch (const merganser::IoError& error) {
    const std::pair<std::string_view, std::string_view> words[] = {
        {"whoever has ids of that tokenizer may load it with ForeignTokenizer::accept",
         "--any-tokenizer loads it nevertheless"},
        {"whoever loads it may give one",
         "--delete-gate-layer, --sigmoid-mask-scale, --deletion-threshold and --deletion-type give what is missing"}};
    std::string message = error.what();
    for (const auto& [of_library, of_program] : words)
      if (const std::size_t at = message.find(of_library); at != std::string::npos)
        throw std::invalid_argument(message.replace(at, of_library.size(), of_program));
    throw;
  }
}

}  // namespace

io::NamedPolicies named_policies() { return runs::named_policies; }

void print_warning(const std::string& text) {
  static std::set<std::string> printed;
  if (printed.insert(text).second) std::cerr << "byte_demo: warning: " << text << "\n";
}

Model load_whole_model(const ModelSource& source) {
  return loaded([&] { return io::load_model<float>(source.directory, load_options(source)); });
}

Model load_model(const ModelSource& source) {
  Model model = loaded([&] { return io::load_for_inference<float>(source.directory, load_options(source)); });
  runs::check_reads_bytes(model.config(), source.directory);
  if (!source.policies.empty()) runs::put_policies(source.policies, model, print_warning);
  return model;
}

Model load_model(const ModelSource& source, const runs::RateOptions& rate) {
  Model model = load_model(source);
  if (!rate.target)
    for (const std::string& policy : source.policies)
      if (policy != "own") runs::check_amount(policy, runs::policy_catalogue());
  return model;
}

void warn_of_missed_target(const runs::RateOptions& rate, double deleted) {
  constexpr double much = 0.05;  // more than whole tokens of a short text make
  if (rate.target && std::abs(*rate.target - deleted) > much)
    print_warning("--target " + merganser::to_text(*rate.target) + ": " + merganser::percent_text(deleted) +
                  " is what the model's policies delete of this text");
}

}  // namespace byte_demo
