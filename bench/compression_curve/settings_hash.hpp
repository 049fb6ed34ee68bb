// Settings as one short text that tells them apart.
#pragma once

#include <map>
#include <string>

#include <merganser/io/file_digest.hpp>

namespace compression_curve {

/// Name to value; the order of adding does not matter.
using Settings = std::map<std::string, std::string>;

/// 16 hexadecimal digits. Lengths are part of it, so that no two settings are the same text.
inline std::string hash_of(const Settings& settings) {
  merganser::io::Crc64 crc;
  for (const auto& [name, value] : settings)
    for (const std::string* text : {&name, &value}) crc.update(std::to_string(text->size()) + ":" + *text);
  return merganser::io::hexadecimal(crc.value());
}

}  // namespace compression_curve
