#include <merganser/io/files/safetensors_reader.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "io/safetensors_bytes.hpp"
#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/golden_dir.hpp"

namespace safetensors_reader_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::SafetensorsFile;
using merganser::testing::bytes_of;
using merganser::testing::safetensors_bytes;

std::string error_of(std::vector<std::byte> bytes) {
  return testing::io_error([&] { SafetensorsFile::parse(std::move(bytes), "f"); });
}

std::string error_of(const std::string& header, std::size_t data_size = 0) {
  return error_of(safetensors_bytes(header, data_size));
}

/// A file with one tensor "t" of the given fields.
std::string error_of_tensor(const std::string& fields, std::size_t data_size) {
  return error_of(R"({"t":{)" + fields + "}}", data_size);
}

SafetensorsFile numbers_file() {
  const std::string header =
      R"({"__metadata__":{"format":"pt","é":""},"m":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("v":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},"s":{"dtype":"F32","shape":[],"data_offsets":[32,36]},)"
      R"("t":{"dtype":"F32","shape":[2,1,2],"data_offsets":[36,52]},)"
      R"("i":{"dtype":"I32","shape":[1,2],"data_offsets":[52,60]},)"
      R"("e":{"dtype":"F32","shape":[0,5],"data_offsets":[60,60]}}  )";
  std::vector<std::byte> data = bytes_of<float>({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13});
  const std::vector<std::byte> integers = bytes_of<std::int32_t>({-4, 5});
  data.insert(data.end(), integers.begin(), integers.end());
  return SafetensorsFile::parse(safetensors_bytes(header.size(), header, data), "f");
}

TEST_CASE("tensors are found by name", "[SafetensorsFile]") {
  const SafetensorsFile file = numbers_file();
  CHECK(file.names() == std::vector<std::string>{"m", "v", "s", "t", "i", "e"});
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"é", ""}});
  CHECK(file.contains("m"));
  CHECK_FALSE(file.contains("M"));
  CHECK_FALSE(file.contains("__metadata__"));
  CHECK(file.tensor("t").shape == std::vector<Index>{2, 1, 2});
  CHECK(file.tensor("t").dtype == io::DataType::f32);
  CHECK(file.tensor("t").size() == 4);
  CHECK(file.tensor("s").shape.empty());
  CHECK_THROWS_WITH(file.tensor("x"), "f: x: got no such tensor, expected a tensor of this name");
}

TEMPLATE_TEST_CASE("floating tensors become matrices", "[SafetensorsFile]", float, double) {
  const SafetensorsFile file = numbers_file();
  const Matrix<TestType> m = file.matrix<TestType>("m");
  CHECK(m == (Matrix<TestType>(2, 3) << 1, 2, 3, 4, 5, 6).finished());
  CHECK(file.matrix<TestType>("v") == (Matrix<TestType>(1, 2) << 7, 8).finished());
  CHECK(file.matrix<TestType>("s") == Matrix<TestType>::Constant(1, 1, 9));
  CHECK(file.matrix<TestType>("e").rows() == 0);
  CHECK(file.matrix<TestType>("e").cols() == 5);
  CHECK(file.folded_matrix<TestType>("t") == (Matrix<TestType>(2, 2) << 10, 11, 12, 13).finished());
  CHECK(file.folded_matrix<TestType>("m") == m);
  CHECK_THROWS_WITH(file.matrix<TestType>("t"), "f: t: got shape [2, 1, 2], expected at most two extents");
  CHECK_THROWS_WITH(file.matrix<TestType>("i"), "f: i: got I32, expected F64, F32, F16 or BF16");
  CHECK_THROWS_AS(file.matrix<TestType>("x"), IoError);
}

TEST_CASE("integer tensors become integers", "[SafetensorsFile]") {
  const SafetensorsFile file = numbers_file();
  CHECK(file.integers("i") == std::vector<std::int64_t>{-4, 5});
  CHECK_THROWS_WITH(file.integers("m"), "f: m: got F32, expected I64, I32, I16, I8, U8 or BOOL");
}

TEMPLATE_TEST_CASE("a tensor is read into a parameter of its shape only", "[SafetensorsFile]", float, double) {
  const SafetensorsFile file = numbers_file();
  Matrix<TestType> matrix = Matrix<TestType>::Zero(2, 3);
  file.read_into("m", ParameterView<TestType>{"p", matrix.data(), 2, 3, false});
  CHECK(matrix == file.matrix<TestType>("m"));
  RowVector<TestType> vector = RowVector<TestType>::Zero(2);
  file.read_into("v", ParameterView<TestType>{"p", vector.data(), 1, 2, true});
  CHECK(vector == file.matrix<TestType>("v"));

  matrix.setZero();
  CHECK_THROWS_WITH(file.read_into("m", ParameterView<TestType>{"p", matrix.data(), 3, 2, false}),
                    "f: m: got shape [2, 3], expected shape [3, 2]");
  CHECK_THROWS_WITH(file.read_into("v", ParameterView<TestType>{"p", matrix.data(), 1, 2, false}),
                    "f: v: got shape [2], expected shape [1, 2]");
  CHECK_THROWS_WITH(file.read_into("s", ParameterView<TestType>{"p", matrix.data(), 1, 1, true}),
                    "f: s: got shape [], expected shape [1]");
  CHECK_THROWS_AS(file.read_into("i", ParameterView<TestType>{"p", matrix.data(), 1, 2, false}), IoError);
  CHECK_THROWS_AS(file.read_into("x", ParameterView<TestType>{"p", matrix.data(), 1, 2, false}), IoError);
  CHECK(matrix.isZero(0));
}

TEST_CASE("views outlive the file they were copied from", "[SafetensorsFile]") {
  SafetensorsFile copy = SafetensorsFile::parse(safetensors_bytes("{}"), "g");
  {
    const SafetensorsFile file = numbers_file();
    copy = file;
  }
  const SafetensorsFile moved = std::move(copy);
  CHECK(moved.matrix<float>("s")(0, 0) == 9);
}

TEST_CASE("a file without tensors is valid", "[SafetensorsFile]") {
  CHECK(SafetensorsFile::parse(safetensors_bytes("{}"), "f").names().empty());
  CHECK(SafetensorsFile::parse(safetensors_bytes(R"({"__metadata__":{}})"), "f").names().empty());
}

TEST_CASE("a wrong header length is an IoError", "[SafetensorsFile]") {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
  const std::byte* const bytes = reinterpret_cast<const std::byte*>(pointer.data());
  CHECK(error_of(std::vector<std::byte>(bytes, bytes + pointer.size())) ==
        "f: file: got a pointer of Git LFS, expected the file that it stands for: git lfs pull fetches it");
  CHECK(error_of(std::vector<std::byte>{}) == "f: header length: got 0 bytes in all, expected at least 8 bytes");
  CHECK(error_of(std::vector<std::byte>(7)) == "f: header length: got 7 bytes in all, expected at least 8 bytes");
  CHECK(error_of(safetensors_bytes(3, "{}")) == "f: header length: got 3, expected at most 2 bytes");
  CHECK_THAT(error_of(safetensors_bytes(~std::uint64_t{0}, "{}")),
             StartsWith("f: header length: got 18446744073709551615"));
  CHECK_THAT(error_of(safetensors_bytes(~std::uint64_t{0} - 7, "{}")), StartsWith("f: header length"));
  CHECK_THAT(error_of(safetensors_bytes(1, "{}")), StartsWith("f: header: got an error at byte"));
  CHECK(error_of(safetensors_bytes(0, "")) == "f: header: got no opening brace, expected a JSON object");
}

TEST_CASE("a header above 32 MB is an IoError", "[SafetensorsFile]") {
  constexpr std::uint64_t length = SafetensorsFile::header_limit + 1;
  std::vector<std::byte> bytes = safetensors_bytes(length, "{}");
  bytes.resize(8 + length, std::byte{' '});
  CHECK(error_of(std::move(bytes)) == "f: header length: got 32000001, expected at most 32000000 bytes");
}

TEST_CASE("a header that is no such object is an IoError", "[SafetensorsFile]") {
  const std::string tensor = R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  CHECK(error_of("{" + tensor + "}", 1).empty());
  for (const char* header : {"[]", "null", " {}", "{", "{}x", "{}{}", "{\"t\":1}", "{\"t\":[]}", "{\"t\":null}"})
    CHECK_THAT(error_of(header), StartsWith("f: "));
  CHECK(error_of("{" + tensor + "," + tensor + "}", 1) ==
        "f: t: got this key twice, expected every key once in an object");
  CHECK(error_of(R"({"__metadata__":{"a":"1","a":"1"}})") ==
        "f: a: got this key twice, expected every key once in an object");
  CHECK(error_of(R"({"__metadata__":[]})") == "f: __metadata__: got an array, expected an object of texts");
  CHECK(error_of(R"({"__metadata__":{"a":1}})") == "f: __metadata__.a: got 1, expected a text");
  CHECK_THAT(error_of(R"({"t":)" + std::string(100'000, '[')), ContainsSubstring("64 levels"));
  CHECK_THAT(error_of("{\"\xff\":1}"), StartsWith("f: header: got an error at byte"));
}

TEST_CASE("a file of 40,000 tensors is read", "[SafetensorsFile]") {
  std::string header = "{";
  for (int i = 0; i < 40'000; ++i)
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(i) + "," + std::to_string(i + 1) + "]}";
  const SafetensorsFile file = SafetensorsFile::parse(safetensors_bytes(header + "}", 40'000), "f");
  CHECK(file.names().size() == 40'000);
  CHECK(file.names().back() == "39999");
  CHECK(file.integers("39999") == std::vector<std::int64_t>{0});
}

TEST_CASE("a type that is not read is an error when its tensor is asked for", "[SafetensorsFile]") {
  const SafetensorsFile file =
      SafetensorsFile::parse(safetensors_bytes(R"({"a":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]},)"
                                               R"("b":{"dtype":"F4","shape":[5],"data_offsets":[6,9]},)"
                                               R"("c":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}})",
                                               10),
                             "f");
  CHECK(file.integers("c") == std::vector<std::int64_t>{0});
  CHECK(file.tensor("a").size() == 6);
  CHECK(file.tensor("b").type_name() == "F4");
  CHECK(file.same_bits("a", "a"));
  CHECK_FALSE(file.same_bits("a", "b"));
  CHECK_THROWS_WITH(file.matrix<float>("a"), "f: a: got F8_E4M3, expected F64, F32, F16 or BF16");
  CHECK_THROWS_WITH(file.require_finite<float>("b"), "f: b: got F4, expected F64, F32, F16 or BF16");
  CHECK_THROWS_WITH(file.integers("a"), "f: a: got F8_E4M3, expected I64, I32, I16, I8, U8 or BOOL");
}

TEST_CASE("a tensor has exactly dtype, shape and data_offsets", "[SafetensorsFile]") {
  const std::string dtype = R"("dtype":"F32")";
  const std::string shape = R"("shape":[2])";
  const std::string offsets = R"("data_offsets":[0,8])";
  CHECK(error_of_tensor(dtype + "," + shape + "," + offsets, 8).empty());
  CHECK(error_of_tensor(shape + "," + offsets, 8) == "f: t.dtype: got no such key, expected an element type");
  CHECK(error_of_tensor(dtype + "," + offsets, 8) == "f: t.shape: got no such key, expected an array of extents");
  CHECK(error_of_tensor(dtype + "," + shape, 8) == "f: t.data_offsets: got no such key, expected [begin, end]");
  CHECK(error_of_tensor(dtype + "," + shape + "," + offsets + R"(,"x":1)", 8) ==
        "f: t.x: got an unknown key, expected a key of this version");
}

TEST_CASE("wrong fields of a tensor are IoErrors", "[SafetensorsFile]") {
  const auto with_dtype = [](const std::string& value) {
    return error_of_tensor(R"("shape":[2],"data_offsets":[0,8],"dtype":)" + value, 8);
  };
  CHECK(with_dtype("\"I32\"").empty());
  CHECK(with_dtype("\"F8_E4M3\"").empty());  // an error when it is asked for
  for (const char* value : {"1", "null", "[]", "\"f32\"", "\"\""})
    CHECK_THAT(with_dtype(value), StartsWith("f: t.dtype: got"));

  const auto with_shape = [](const std::string& value) {
    return error_of_tensor(R"("dtype":"F32","data_offsets":[0,8],"shape":)" + value, 8);
  };
  CHECK(with_shape("[2]").empty());
  CHECK(with_shape("[1,2,1]").empty());
  for (const char* value : {"2", "null", "[2.0]", "[\"2\"]", "[-2]", "[-1,-2]", "[[2]]", "[true]",
                            "[9223372036854775808]", "[36893488147419103234]", "{}"})
    CHECK_THAT(with_shape(value), StartsWith("f: t.shape: got"));
  // Products that wrap around: to 0 elements, and to 8 bytes.
  CHECK(with_shape("[4611686018427387904,4,2]") ==
        "f: t.shape: got [4611686018427387904, 4, 2], expected a number of bytes that can be counted");
  CHECK_THAT(with_shape("[4611686018427387906]"), StartsWith("f: t.shape: got [4611686018427387906]"));
  CHECK(with_shape("[]") == "f: t.data_offsets: got 8 bytes, expected 4 bytes for F32 []");
  CHECK(with_shape("[3]") == "f: t.data_offsets: got 8 bytes, expected 12 bytes for F32 [3]");

  const auto with_offsets = [](const std::string& value) {
    return error_of_tensor(R"("dtype":"F32","shape":[2],"data_offsets":)" + value, 8);
  };
  CHECK(with_offsets("[0,8]").empty());
  CHECK(with_offsets("[0,16]") == "f: t.data_offsets: got [0, 16], expected [begin, end] within 8 bytes");
  for (const char* value : {"8", "null", "[]", "[8]", "[0,8,8]", "[8,0]", "[0,7]", "[4,12]", "[-8,0]", "[0,8.0]",
                            "[9223372036854775800,9223372036854775807]", "[0,18446744073709551615]"})
    CHECK_THAT(with_offsets(value), StartsWith("f: t.data_offsets: got"));
}

TEST_CASE("tensors tile the data", "[SafetensorsFile]") {
  const auto tensor = [](const std::string& name, int begin, int end) {
    return "\"" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const auto file = [](const std::string& a, const std::string& b) { return "{" + a + "," + b + "}"; };
  CHECK(error_of(file(tensor("a", 2, 4), tensor("b", 0, 2)), 4).empty());
  CHECK(error_of(file(tensor("a", 0, 4), tensor("b", 4, 4)), 4).empty());
  CHECK(error_of(file(tensor("b", 0, 0), tensor("a", 0, 4)), 4).empty());
  CHECK(error_of(file(tensor("a", 0, 2), tensor("b", 3, 4)), 4) ==
        "f: b.data_offsets: got begin 3, expected begin 2, without holes or overlaps");
  CHECK(error_of(file(tensor("a", 0, 3), tensor("b", 2, 4)), 4) ==
        "f: b.data_offsets: got begin 2, expected begin 3, without holes or overlaps");
  CHECK_FALSE(error_of(file(tensor("a", 0, 4), tensor("b", 0, 4)), 4).empty());
  CHECK_FALSE(error_of(file(tensor("a", 0, 4), tensor("b", 2, 2)), 4).empty());
  CHECK_FALSE(error_of(file(tensor("a", 1, 2), tensor("b", 2, 4)), 4).empty());
  CHECK(error_of(file(tensor("a", 0, 2), tensor("b", 2, 4)), 5) == "f: data: got 5 bytes, expected 4 bytes of tensors");
  CHECK(error_of("{}", 1) == "f: data: got 1 bytes, expected 0 bytes of tensors");
}

TEST_CASE("every cut of a file is an IoError", "[SafetensorsFile]") {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} )";
  const std::vector<std::byte> whole = safetensors_bytes(header, 8);
  CHECK(error_of(whole).empty());
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(
        error_of(std::vector<std::byte>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))).empty());
}

TEST_CASE("files are read from disk", "[SafetensorsFile]") {
  const merganser::testing::TemporaryDirectory directory;
  io::write_file_atomically(directory / "f",
                            safetensors_bytes(R"({"a":{"dtype":"I8","shape":[],"data_offsets":[0,1]}})", 1));
  CHECK(SafetensorsFile::open(directory / "f").integers("a") == std::vector<std::int64_t>{0});
  CHECK(SafetensorsFile::open(directory / "f").file_name() == (directory / "f").string());
  CHECK_THROWS_AS(SafetensorsFile::open(directory / "missing"), IoError);
  CHECK_THROWS_AS(SafetensorsFile::open(directory.path()), IoError);
}

TEST_CASE("every golden case is readable", "[SafetensorsFile][golden]") {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(merganser::testing::golden_dir())) {
    if (!entry.is_directory()) continue;
    ++cases;
    INFO(entry.path());
    for (const char* name : {"model.safetensors", "case.safetensors"}) {
      const SafetensorsFile file = SafetensorsFile::open(entry.path() / name);
      CHECK_FALSE(file.names().empty());
      for (const std::string& tensor : file.names()) {
        INFO(tensor);
        const io::TensorInfo& info = file.tensor(tensor);
        if (!io::is_floating(info.dtype)) {
          CHECK(std::ssize(file.integers(tensor)) == info.size());
          continue;
        }
        if (std::string(name) == "model.safetensors") CHECK(info.dtype == io::DataType::f32);
        const Matrix<double> values = file.folded_matrix<double>(tensor);
        CHECK(values.size() == info.size());
        CHECK(values.allFinite());
        CHECK(values.cast<float>() == file.folded_matrix<float>(tensor));
      }
    }
  }
  CHECK(cases > 0);
}

}  // namespace safetensors_reader_test
