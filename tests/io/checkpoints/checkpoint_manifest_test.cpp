#include <merganser/io/checkpoints/checkpoint_manifest.hpp>

#include <filesystem>
#include <limits>
#include <string>

#include <merganser/io/files/atomic_file.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace checkpoint_manifest_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::CheckpointManifest;
using io::ManifestCheck;
using merganser::testing::TemporaryDirectory;

const std::string good_digest = R"({"bytes": 3, "crc64": "00000000000000ff"})";

std::string with_file(const std::string& name, const std::string& digest) {
  return R"({"version": 1, "files": {")" + name + R"(": )" + digest + "}}";
}

CheckpointManifest parse(const std::string& text) { return io::parse_checkpoint_manifest(text, "m"); }

TEST_CASE("a manifest is read back", "[CheckpointManifest]") {
  for (const CheckpointManifest& manifest :
       {CheckpointManifest{}, CheckpointManifest{{{"a", {0, 0}}}},
        CheckpointManifest{
            {{"a", {3, 255}},
             {"b \"quoted\" \xc3\xa9", {std::numeric_limits<std::uint64_t>::max(), ~std::uint64_t{0}}}}}})
    CHECK(parse(io::to_json(manifest)) == manifest);
  CHECK(parse(with_file("f", good_digest)).files.at("f") == io::FileDigest{3, 255});
}

TEST_CASE("a manifest is read strictly", "[CheckpointManifest]") {
  const auto refused = [](const std::string& text, const std::string& message) {
    CHECK_THROWS_WITH(parse(text), StartsWith("m: " + message));
    CHECK_THROWS_AS(parse(text), IoError);
  };
  refused("", "file: got an error at byte");
  refused("[]", "file: got array");
  refused("{}", "version: got no such key, expected 1");
  refused(R"({"version": 2, "files": {}})", "version: got 2, expected a whole number in 1 .. 1");
  refused(R"({"version": 1})", "files: got no such key");
  refused(R"({"version": 1, "files": []})", "files: got an array, expected an object");
  refused(R"({"version": 1, "files": {}, "more": 1})", "more: got an unknown key");
  refused(R"({"version": 1, "files": {}, "files": {}})", "files: got this key twice");
  for (const std::string name : {"", ".", "..", "/etc/passwd", "../a", "a/b", "a\\\\b", "a\\u0000b"})
    refused(with_file(name, good_digest), "files.");
  refused(with_file("f", "3"), "files.f: got 3, expected {bytes, crc64}");
  refused(with_file("f", "{}"), "files.f.bytes: got no such key");
  refused(with_file("f", R"({"bytes": 1})"), "files.f.crc64: got no such key");
  refused(with_file("f", R"({"bytes": 1, "crc64": "0000000000000000", "md5": ""})"), "files.f.md5: got an unknown key");
  for (const std::string bytes : {"-1", "1.0", "1e3", "\"1\"", "null", "18446744073709551616", "[1]"})
    refused(with_file("f", R"({"bytes": )" + bytes + R"(, "crc64": "0000000000000000"})"), "files.f.bytes: got ");
  for (const std::string sum : {"0", "\"\"", "\"ff\"", "\"00000000000000FF\"", "\"00000000000000000\"",
                                "\"000000000000000x\"", "\"-000000000000001\"", "null"})
    refused(with_file("f", R"({"bytes": 1, "crc64": )" + sum + "}"), "files.f.crc64: got ");
}

TEST_CASE("a name that no manifest holds is refused", "[CheckpointManifest]") {
  using merganser::testing::argument_error;
  CHECK(argument_error([] {
          io::to_json(CheckpointManifest{{{"a/b", {}}}});
        }) == "to_json: files: got a/b, expected names of entries");
  CHECK(argument_error([] {
          io::to_json(CheckpointManifest{{{"\xff", {}}}});
        }) == "to_json: files: got a name that is not UTF-8, expected UTF-8");
}

TEST_CASE("a manifest tells whole files from damaged ones", "[CheckpointManifest]") {
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "one", "the first");
  io::write_file_atomically(directory / "empty", "");
  CHECK_THROWS_WITH(io::check_manifest(directory.path(), ManifestCheck::sizes), ContainsSubstring("no such file"));
  io::write_checkpoint_manifest(directory.path());
  const CheckpointManifest manifest = io::check_manifest(directory.path(), ManifestCheck::contents);
  CHECK(manifest.files.size() == 2);
  io::write_file_atomically(directory / "another", "that nobody asked for");
  CHECK_NOTHROW(io::check_manifest(directory.path(), ManifestCheck::contents));

  io::write_file_atomically(directory / "one", "the worst");
  CHECK_NOTHROW(io::check_manifest(directory.path(), ManifestCheck::sizes));
  CHECK_THROWS_WITH(io::check_manifest(directory.path(), ManifestCheck::contents),
                    ContainsSubstring("one: file: got checksum "));
  io::write_file_atomically(directory / "one", "the firs");
  CHECK_THROWS_WITH(io::check_manifest(directory.path(), ManifestCheck::sizes),
                    ContainsSubstring("one: file: got 8 bytes, expected 9, as "));
  std::filesystem::remove(directory / "one");
  CHECK_THROWS_WITH(io::check_manifest(directory.path(), ManifestCheck::sizes),
                    ContainsSubstring("one: file: got no such file"));
  std::filesystem::create_directory(directory / "one");
  CHECK_THROWS_WITH(io::check_manifest(directory.path(), ManifestCheck::sizes), ContainsSubstring("regular file"));
}

TEST_CASE("a second manifest does not name the first", "[CheckpointManifest]") {
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "one", "x");
  io::write_checkpoint_manifest(directory.path());
  io::write_checkpoint_manifest(directory.path());
  CHECK(io::check_manifest(directory.path(), ManifestCheck::contents).files.size() == 1);
}

}  // namespace checkpoint_manifest_test
