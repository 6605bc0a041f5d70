#include "common/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file of this header and data, which says `length`, or else the header's own.
std::string File(const std::string& header, const std::string& data, std::optional<uint64_t> length = std::nullopt) {
  const uint64_t size = length.value_or(header.size());
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + data;
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":", offsets,
                      "}");
}

absl::Status ParseStatus(const std::string& bytes, const Safetensors::Limits& limits = {}) {
  return Safetensors::Parse(bytes, limits).status();
}

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const std::string header =
      absl::StrCat("{\"__metadata__\":{\"format\":\"pt\"},", Entry("b", "I64", "[]", "[8,16]"), ",",
                   Entry("a", "F32", "[2,1]", "[0,8]"), ",", Entry("c", "BF16", "[0,7]", "[16,16]"), "}   ");
  const auto file = Safetensors::Parse(File(header, "abcdefghABCDEFGH"), {});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().size(), 3u);
  EXPECT_EQ((*file)->metadata().at("format"), "pt");
  const TensorView* a = (*file)->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::kF32);
  EXPECT_THAT(a->shape, ElementsAre(2, 1));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(a->data), 8), "abcdefgh");
  EXPECT_EQ((*file)->Find("b")->size_bytes, 8);
  EXPECT_EQ((*file)->Find("c")->size_bytes, 0);
  EXPECT_EQ((*file)->Find("d"), nullptr);
}

TEST(Safetensors, EveryDTypeIsRead) {
  for (const char* dtype : {"F64", "I64", "F32", "I32", "F16", "BF16", "I16", "I8", "U8", "BOOL"}) {
    const auto probe = Safetensors::Parse(File(absl::StrCat("{", Entry("t", dtype, "[0]", "[0,0]"), "}"), ""), {});
    ASSERT_TRUE(probe.ok()) << dtype << probe.status();
    EXPECT_STREQ(DTypeName((*probe)->Find("t")->dtype), dtype);
  }
}

struct Hostile {
  const char* name;
  std::string bytes;
  const char* message;
};

class HostileSafetensors : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileSafetensors, IsRefusedWithItsMessage) {
  const absl::Status status = ParseStatus(GetParam().bytes);
  EXPECT_EQ(GetReason(status), Reason::kSafetensorsInvalid) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

std::string One(const std::string& entry, const std::string& data) { return File(absl::StrCat("{", entry, "}"), data); }
std::string Two(const std::string& a, const std::string& b, const std::string& data) {
  return File(absl::StrCat("{", a, ",", b, "}"), data);
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileSafetensors,
    ::testing::Values(
        Hostile{"Empty", "", "the file has 0 bytes"}, Hostile{"SevenBytes", "1234567", "the file has 7 bytes"},
        Hostile{"NoHeader", File("", ""), "does not begin with {"},
        Hostile{"HeaderBeyondEnd", File("{}", "", 3), "the file is truncated"},
        Hostile{"HeaderOverCap", File("{}", "", 200 << 20), "at most 104857600 are allowed"},
        Hostile{"HeaderLengthHuge", File("{}", "", UINT64_MAX), "at most 104857600 are allowed"},
        Hostile{"SpaceBeforeHeader", File(" {}", ""), "does not begin with {"},
        Hostile{"NotJson", File("{\"a\"", ""), "not valid JSON"},
        Hostile{"TwoDocuments", File("{}{}", ""), "not valid JSON"},
        Hostile{"NotUtf8", File("{\"\xFF\":{}}", ""), "not valid JSON"},
        Hostile{"TensorIsNumber", File("{\"a\":1}", ""), "tensor a: must be an object"},
        Hostile{"TensorIsList", File("{\"a\":[]}", ""), "tensor a: must be an object"},
        Hostile{"MissingKeys", File("{\"a\":{\"dtype\":\"F32\"}}", ""),
                "tensor a: needs dtype, shape and data_offsets"},
        Hostile{"UnknownKey", File("{\"a\":{\"stride\":1}}", ""), "tensor a: unknown key stride"},
        Hostile{"DuplicateTensor", Two(Entry("a", "U8", "[1]", "[0,1]"), Entry("a", "U8", "[1]", "[0,1]"), "x"),
                "tensor a: the name occurs twice"},
        Hostile{"DuplicateKey", File("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", ""), "key dtype occurs twice"},
        Hostile{"DuplicateMetadata", File("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", ""), "key a occurs twice"},
        Hostile{"MetadataNotString", File("{\"__metadata__\":{\"a\":1}}", ""), "unexpected a number in a"},
        Hostile{"MetadataNested", File("{\"__metadata__\":{\"a\":{}}}", ""), "unexpected an object in a"},
        Hostile{"NegativeExtent", One(Entry("a", "U8", "[-1]", "[0,1]"), "x"), "unexpected -1 in shape"},
        Hostile{"FractionExtent", One(Entry("a", "U8", "[1.0]", "[0,1]"), "x"), "unexpected 1.0 in shape"},
        Hostile{"HugeExtent", One(Entry("a", "U8", "[18446744073709551615]", "[0,1]"), "x"), "which is too large"},
        Hostile{"NestedShape", One(Entry("a", "U8", "[[1]]", "[0,1]"), "x"), "unexpected a list in shape"},
        Hostile{"ProductOverflows", One(Entry("a", "F32", "[4294967296,4294967296]", "[0,0]"), ""),
                "product overflows"},
        Hostile{"ProductOverflowsByItem", One(Entry("a", "F64", "[4611686018427387904]", "[0,0]"), ""),
                "product overflows"},
        Hostile{"RankNine", One(Entry("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), "x"), "more than 8 dimensions"},
        Hostile{"OneOffset", One(Entry("a", "U8", "[1]", "[0]"), "x"), "data_offsets must be two numbers"},
        Hostile{"ThreeOffsets", One(Entry("a", "U8", "[1]", "[0,1,2]"), "x"), "data_offsets must be two numbers"},
        Hostile{"OffsetsReversed", One(Entry("a", "U8", "[1]", "[1,0]"), "x"), "end before they begin"},
        Hostile{"SizeDiffers", One(Entry("a", "F32", "[2]", "[0,4]"), "abcd"), "need 8 bytes, data_offsets give 4"},
        Hostile{"BeyondEnd", One(Entry("a", "F32", "[2]", "[0,8]"), "abcd"), "ends at byte 8 of 4"},
        Hostile{"Overlap", Two(Entry("a", "U8", "[2]", "[0,2]"), Entry("b", "U8", "[2]", "[1,3]"), "abc"),
                "tensor b: overlaps"},
        Hostile{"SameBytes", Two(Entry("a", "U8", "[2]", "[0,2]"), Entry("b", "U8", "[2]", "[0,2]"), "ab"),
                "tensor b: overlaps"},
        Hostile{"Hole", Two(Entry("a", "U8", "[1]", "[0,1]"), Entry("b", "U8", "[1]", "[2,3]"), "abc"),
                "a hole of 1 bytes"},
        Hostile{"HoleAtStart", One(Entry("a", "U8", "[1]", "[1,2]"), "ab"), "a hole of 1 bytes"},
        Hostile{"TrailingBytes", One(Entry("a", "U8", "[1]", "[0,1]"), "ab"), "1 bytes after the last tensor"},
        Hostile{"DeepNesting", File("{\"a\":" + std::string(100'000, '['), ""), "must be an object"}),
    [](const auto& info) { return info.param.name; });

TEST(Safetensors, UnknownDTypeIsNamed) {
  const absl::Status status = ParseStatus(One(Entry("w", "F8_E4M3", "[1]", "[0,1]"), "x"));
  EXPECT_EQ(GetReason(status), Reason::kUnsupported);
  EXPECT_EQ(GetField(status), "w");
  EXPECT_THAT(std::string(status.message()), HasSubstr("dtype F8_E4M3"));
}

TEST(Safetensors, LimitsHold) {
  Safetensors::Limits limits;
  limits.max_tensors = 1;
  const std::string two = Two(Entry("a", "U8", "[1]", "[0,1]"), Entry("b", "U8", "[1]", "[1,2]"), "ab");
  EXPECT_TRUE(ParseStatus(two).ok());
  EXPECT_THAT(std::string(ParseStatus(two, limits).message()), HasSubstr("more than 1 tensors"));
  limits.max_header_bytes = 5;
  EXPECT_THAT(std::string(ParseStatus(two, limits).message()), HasSubstr("at most 5 are allowed"));
  limits = {};
  limits.max_rank = 1;
  EXPECT_THAT(std::string(ParseStatus(One(Entry("a", "U8", "[1,1]", "[0,1]"), "x"), limits).message()),
              HasSubstr("1 dimensions"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = Two(Entry("a", "F32", "[1]", "[0,4]"), Entry("b", "F32", "[1]", "[4,8]"), "abcdefgh");
  ASSERT_TRUE(ParseStatus(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(ParseStatus(whole.substr(0, size)).ok()) << size;
}

TensorToWrite Tensor(const std::string& name, DType dtype, std::vector<int64_t> shape, const std::string& bytes) {
  return {
      name,
      {dtype, std::move(shape), reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int64_t>(bytes.size())}};
}

std::string ReadAll(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(SafetensorsWriter, SameTensorsSameBytesInAnyOrder) {
  const test::TempFolder folder;
  const std::string four = "abcd", eight = "ABCDEFGH", one = "x";
  const auto a = Tensor("a", DType::kF32, {1}, four), b = Tensor("b\"\n\xC3\xA9", DType::kI64, {1}, eight),
             c = Tensor("c", DType::kU8, {1}, one);
  ASSERT_TRUE(WriteSafetensors(folder.path() / "1", {a, b, c}, {{"k", "v"}}).ok());
  ASSERT_TRUE(WriteSafetensors(folder.path() / "2", {c, a, b}, {{"k", "v"}}).ok());
  const std::string bytes = ReadAll(folder.path() / "1");
  EXPECT_EQ(bytes, ReadAll(folder.path() / "2"));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(bytes.substr(8 + header), "ABCDEFGHabcdx");  // wide types first, so that all are aligned

  const auto read = Safetensors::Open(folder.path() / "1", {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"k", "v"}}));
  EXPECT_EQ(std::memcmp((*read)->Find("b\"\n\xC3\xA9")->data, eight.data(), 8), 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2) << "a temporary file was left";
}

TEST(SafetensorsWriter, RefusesWhatReadersWould) {
  const test::TempFolder folder;
  const std::string four = "abcd";
  const auto write = [&](std::vector<TensorToWrite> tensors) {
    return WriteSafetensors(folder.path() / "f", std::move(tensors), {});
  };
  EXPECT_THAT(std::string(write({Tensor("a", DType::kF32, {2}, four)}).message()), HasSubstr("need 8 bytes, not 4"));
  EXPECT_THAT(std::string(write({Tensor("a", DType::kF32, {-1}, four)}).message()), HasSubstr("overflows"));
  EXPECT_FALSE(write({Tensor("__metadata__", DType::kF32, {1}, four)}).ok());
  EXPECT_FALSE(write({Tensor("\xFF", DType::kF32, {1}, four)}).ok());
  const auto twice = write(
      {Tensor("a", DType::kF32, {1}, four), Tensor("b", DType::kF32, {1}, four), Tensor("a", DType::kF32, {1}, four)});
  EXPECT_THAT(std::string(twice.message()), HasSubstr("a is given twice"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, MissingFolderIsAStorageFault) {
  const test::TempFolder folder;
  EXPECT_EQ(GetReason(WriteSafetensors(folder.path() / "no" / "f", {}, {})), Reason::kStorageFault);
}

class ShardedModel : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const Safetensors>> Open(const std::string& weight_map) {
    folder_.Write("one.safetensors", One(Entry("a", "U8", "[1]", "[0,1]"), "x"));
    folder_.Write("two.safetensors", Two(Entry("b", "U8", "[1]", "[0,1]"), Entry("empty", "U8", "[0]", "[1,1]"), "y"));
    folder_.Write("model.safetensors.index.json", absl::StrCat("{\"metadata\":{},\"weight_map\":", weight_map, "}"));
    return Safetensors::OpenModel(folder_.path(), {});
  }
  std::string Message(const std::string& weight_map) {
    const auto opened = Open(weight_map);
    EXPECT_EQ(GetReason(opened.status()), Reason::kSafetensorsInvalid) << opened.status();
    return std::string(opened.status().message());
  }
  test::TempFolder folder_;
};

TEST_F(ShardedModel, JoinsItsShards) {
  const auto model = Open(R"({"a":"one.safetensors","b":"two.safetensors","empty":"two.safetensors"})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(*(*model)->Find("a")->data, 'x');
  EXPECT_EQ(*(*model)->Find("b")->data, 'y');
}

TEST_F(ShardedModel, ShardsStayInTheFolder) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "a\\\\b", "..", "", "x\\u0000y"}) {
    EXPECT_THAT(Message(absl::StrCat("{\"a\":\"", name, "\"}")), HasSubstr("a file name without folders")) << name;
  }
  EXPECT_THAT(Message(R"({"a":1})"), HasSubstr("a file name without folders"));
}

TEST_F(ShardedModel, IndexAndFilesMustAgree) {
  EXPECT_THAT(Message(R"({"a":"one.safetensors","b":"two.safetensors"})"),
              HasSubstr("tensor empty is not in the index"));
  EXPECT_THAT(Message(R"({"a":"two.safetensors","b":"two.safetensors","empty":"two.safetensors"})"),
              HasSubstr("tensor a of the index is missing"));
  EXPECT_THAT(Message(R"({"a":"three.safetensors"})"), HasSubstr("three.safetensors: No such file"));
  EXPECT_THAT(Message("{}"), HasSubstr("weight_map is empty"));
  EXPECT_THAT(Message("[]"), HasSubstr("weight_map must be an object"));
  EXPECT_THAT(Message(R"({"a":"one.safetensors","a":"one.safetensors"})"), HasSubstr("\"a\" occurs twice"));
}

TEST(Safetensors, DroppedPagesAreReadAgain) {
  const test::TempFolder folder;
  const std::string data(64 << 10, 'x');
  folder.Write("model.safetensors", File(absl::StrCat("{", Entry("a", "U8", "[65536]", "[0,65536]"), "}"), data));
  const auto file = Safetensors::OpenModel(folder.path(), {});
  ASSERT_TRUE(file.ok()) << file.status();
  const TensorView* a = (*file)->Find("a");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(a->data), data.size()), data);
    (*file)->DropPages();
  }
}

TEST(Safetensors, OpenNamesTheFile) {
  const test::TempFolder folder;
  const auto none = Safetensors::OpenModel(folder.path(), {});
  EXPECT_EQ(GetReason(none.status()), Reason::kBaseInvalid);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("model.safetensors: no such file"));
  folder.Write("model.safetensors", "short");
  EXPECT_THAT(std::string(Safetensors::OpenModel(folder.path(), {}).status().message()),
              HasSubstr("model.safetensors: the file has 5"));
  EXPECT_THAT(std::string(Safetensors::Open(folder.path(), {}).status().message()), HasSubstr("is not a file"));
}

}  // namespace
}  // namespace tenon::formats
