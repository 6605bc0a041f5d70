#include "common/digest.h"

#include <gtest/gtest.h>

#include <fstream>

namespace tenon {
namespace {

// FIPS 180-2, appendix B.1.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, KnownVectors) {
  EXPECT_EQ(Sha256Hex("abc"), kAbc);
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  Sha256 sha;
  sha.Update("a", 1);
  sha.Update("bc", 2);
  EXPECT_EQ(sha.Finish(), kAbc);
}

TEST(Sha256File, EqualsTheBytesDigest) {
  const std::string path = testing::TempDir() + "/digest_test.bin";
  const std::string bytes((3 << 20) + 17, 'x');  // more than one read
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_EQ(*Sha256File(path), Sha256Hex(bytes));
  EXPECT_EQ(Sha256File(path + ".missing").status().code(), absl::StatusCode::kNotFound);
}

TEST(ManifestDigest, DoesNotDependOnOrderButOnContent) {
  const std::string a = Sha256Hex("a"), b = Sha256Hex("b");
  EXPECT_EQ(ManifestDigest({a, b}), ManifestDigest({b, a}));
  EXPECT_NE(ManifestDigest({a, b}), ManifestDigest({a}));
  EXPECT_EQ(ManifestDigest({a}), Sha256Hex(a + "\n"));
}

TEST(IsDigest, TakesLowerCaseHexOfTheRightLength) {
  EXPECT_TRUE(IsDigest(kAbc));
  EXPECT_FALSE(IsDigest(std::string(kAbc).substr(1)));
  EXPECT_FALSE(IsDigest(std::string(64, 'A')));
  EXPECT_FALSE(IsDigest(std::string(64, '/')));
}

}  // namespace
}  // namespace tenon
