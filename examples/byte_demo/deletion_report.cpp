// Which tokens of a text a model deletes.
#include <deletion_report.hpp>

#include <algorithm>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>

namespace byte_demo {

namespace {

/// The tokens that a window's rows stand for begin at `begin`; its last row is the end of sequence.
void add_window(const models::EncoderOutput<float>& encoded, std::size_t begin, Index length, DeletionReport& report) {
  for (const Index row : encoded.kept)
    if (row < length) report.kept[begin + static_cast<std::size_t>(row)] = 1;
  report.tokens += length + 1;
  report.deleted_tokens += length + 1 - static_cast<Index>(encoded.kept.size());
  std::vector<Index> row_of;  // of each token that reaches the gate
  for (Index row = 0; row <= length; ++row) row_of.push_back(row);
  for (std::size_t g = 0; g < encoded.gates.size(); ++g) {
    const auto& gate = encoded.gates[g];
    if (report.gates.size() <= g) report.gates.push_back({gate.block, gate.threshold, {}});
    report.gates[g].values.resize(report.kept.size());
    for (std::size_t i = 0; i < row_of.size(); ++i)
      if (row_of[i] < length)
        report.gates[g].values[begin + static_cast<std::size_t>(row_of[i])] = static_cast<double>(gate.gate.values[i]);
    std::vector<Index> survivors;
    for (const Index kept : gate.kept) survivors.push_back(row_of[static_cast<std::size_t>(kept)]);
    row_of = std::move(survivors);
  }
}

}  // namespace

Index DeletionReport::deleted() const {
  return static_cast<Index>(std::count(kept.begin(), kept.end(), std::uint8_t{0}));
}

DeletionReport report_deletion(const Model& model, std::span<const merganser::TokenId> text, Index window,
                               const merge::DeletionOptions& options, std::uint64_t seed) {
  DeletionReport report;
  report.kept.resize(text.size(), 0);
  merganser::Rng rng(seed);  // of a random gate
  Model::ForwardOptions forward;
  forward.deletion = options;
  forward.rng = &rng;
  std::size_t begin = 0;
  do {
    const auto piece = text.subspan(begin, std::min(static_cast<std::size_t>(window), text.size() - begin));
    std::vector<merganser::TokenId> ids(piece.begin(), piece.end());
    ids.push_back(merganser::data::ByteTokenizer::eos_id);
    merganser::TokenBatch source;
    source.push_back(ids);
    add_window(model.encode(source, forward), begin, static_cast<Index>(piece.size()), report);
    begin += piece.size();
  } while (begin < text.size());
  report.deletion_rate = static_cast<double>(report.deleted_tokens) / static_cast<double>(report.tokens);
  return report;
}

}  // namespace byte_demo
