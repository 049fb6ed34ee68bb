// The words of the command line and what they stand for.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <options.hpp>

namespace byte_demo {

template <class Value>
using Choices = std::vector<std::pair<std::string, Value>>;

inline const Choices<GateChoice> gate_choices = {
    {"learned", GateChoice::learned}, {"random", GateChoice::random}, {"fixed", GateChoice::fixed}};

inline const Choices<merge::GateKind> gate_kind_choices = {
    {"learned", merge::GateKind::learned}, {"random", merge::GateKind::random}, {"fixed", merge::GateKind::fixed}};

inline const Choices<nn::ScoreBoundKind> score_bound_choices = {{"none", nn::ScoreBoundKind::none},
                                                                {"soft_cap", nn::ScoreBoundKind::soft_cap},
                                                                {"normalised", nn::ScoreBoundKind::normalised}};

inline const Choices<merge::GateNoise> gate_noise_choices = {{"none", merge::GateNoise::none},
                                                             {"gumbel", merge::GateNoise::gumbel}};

inline const Choices<merganser::io::DataType> weight_choices = {{"bf16", merganser::io::DataType::bf16},
                                                                {"f16", merganser::io::DataType::f16},
                                                                {"f32", merganser::io::DataType::f32}};

inline const Choices<merge::SurvivorBias> survivor_bias_choices = {{"kept", merge::SurvivorBias::kept},
                                                                   {"dropped", merge::SurvivorBias::dropped}};

inline const Choices<merge::ControllerRange> controller_choices = {
    {"two-sided", merge::ControllerRange::two_sided}, {"non-negative", merge::ControllerRange::non_negative}};

inline const Choices<training::Decay> schedule_choices = {
    {"constant", training::Decay::constant},
    {"linear", training::Decay::linear},
    {"cosine", training::Decay::cosine},
    {"inverse_square_root", training::Decay::inverse_square_root}};

template <class Value>
std::string word_of(const Value& value, const Choices<Value>& choices) {
  for (const auto& [word, meaning] : choices)
    if (meaning == value) return word;
  return "";
}

}  // namespace byte_demo
