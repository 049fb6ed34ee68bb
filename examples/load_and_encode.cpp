// Loads a model directory as Hugging Face writes it and encodes texts: load_and_encode DIR TEXT... Prints a line a
// text: the tokens that reached the last encoder block, and the width of what stands for each of them.
#include <exception>
#include <iostream>
#include <stdexcept>

#include <merganser/io/models/model_directory.hpp>
#include <merganser/merganser.hpp>

using namespace merganser;

static void encode(int argc, char** argv) {
  const auto model = io::load_for_inference<float>(argv[1]);  // T5, ByT5, mT5 or MrT5; an IoError says what is wrong

  TokenBatch texts;
  for (int i = 2; i < argc; ++i) texts.push_back(data::ByteTokenizer().encode(argv[i]));
  const auto encoded = model.encode(texts);  // tokens that the gate deletes are gone

  for (Index i = 0; i < texts.count(); ++i)
    std::cout << argv[i + 2] << ": " << encoded.hidden.offsets.length(i) << " of " << texts.offsets.length(i)
              << " tokens, " << encoded.hidden.values.cols() << " numbers each\n";
}

int main(int argc, char** argv) {
  try {
    if (argc < 3) throw std::invalid_argument("usage: load_and_encode DIR TEXT...");
    encode(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
