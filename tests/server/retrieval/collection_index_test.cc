#include "server/retrieval/collection_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"

namespace tenon::server {
namespace {

using Vector = std::vector<float>;

IndexSpec Spec(v1::IndexKind kind, int dimensions, v1::VectorMetric metric = v1::VECTOR_METRIC_COSINE) {
  IndexSpec spec;
  spec.kind = kind;
  spec.metric = metric;
  spec.dimensions = dimensions;
  return spec;
}

std::vector<Vector> RandomVectors(int count, int dimensions, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Vector> vectors(count, Vector(dimensions));
  for (Vector& vector : vectors) {
    for (float& value : vector) value = normal(random);
  }
  return vectors;
}

IndexChange Put(int64_t number, const std::string& id, Vector vector, Metadata metadata = {}) {
  IndexChange change;
  change.put.push_back({number, id, std::move(metadata), std::move(vector)});
  return change;
}

std::vector<std::string> Ids(const std::vector<IndexHit>& hits) {
  std::vector<std::string> ids;
  for (const IndexHit& hit : hits) ids.push_back(hit.id);
  return ids;
}

std::vector<std::string> Find(const CollectionIndex& index, const Vector& query, int k, const Metadata& filter = {}) {
  const auto found = index.Search({query}, k, filter);
  EXPECT_TRUE(found.ok()) << found.status();
  return Ids(found->at(0));
}

// Every test runs on both kinds: small collections are exact on either.
class BothKindsTest : public testing::TestWithParam<v1::IndexKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BothKindsTest, testing::Values(v1::INDEX_KIND_FLAT, v1::INDEX_KIND_HNSW),
                         [](const auto& info) { return v1::IndexKind_Name(info.param); });

TEST_P(BothKindsTest, CosineIgnoresLengthAndDotProductDoesNot) {
  CollectionIndex cosine(Spec(GetParam(), 2));
  CollectionIndex dot(Spec(GetParam(), 2, v1::VECTOR_METRIC_DOT_PRODUCT));
  for (CollectionIndex* index : {&cosine, &dot}) {
    ASSERT_TRUE(index->Apply(Put(1, "near", {1, 0.1f})).ok());
    ASSERT_TRUE(index->Apply(Put(2, "long", {5, 5})).ok());
    ASSERT_TRUE(index->Apply(Put(3, "zero", {0, 0})).ok());
  }
  const auto by_cosine = *cosine.Search({{2, 0}}, 3, {});
  EXPECT_EQ(Ids(by_cosine[0]), (std::vector<std::string>{"near", "long", "zero"}));
  EXPECT_NEAR(by_cosine[0][0].score, 1 / std::sqrt(1.01), 1e-6);
  EXPECT_NEAR(by_cosine[0][1].score, std::sqrt(0.5), 1e-6);
  EXPECT_EQ(by_cosine[0][2].score, 0);
  const auto by_dot = *dot.Search({{2, 0}}, 3, {});
  EXPECT_EQ(Ids(by_dot[0]), (std::vector<std::string>{"long", "near", "zero"}));
  EXPECT_NEAR(by_dot[0][0].score, 10, 1e-6);
}

TEST_P(BothKindsTest, TiesAreBrokenByIdAlsoAtTheCut) {
  CollectionIndex index(Spec(GetParam(), 2));
  // 300 equal vectors, in an order that is not the ids'.
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(index.Apply(Put(i, absl::StrCat("doc-", 1000 + (i * 7) % 300), {1, 1})).ok());
  }
  EXPECT_EQ(Find(index, {1, 1}, 4), (std::vector<std::string>{"doc-1000", "doc-1001", "doc-1002", "doc-1003"}));
}

TEST_P(BothKindsTest, EmptyAndShortCollections) {
  CollectionIndex index(Spec(GetParam(), 3));
  EXPECT_TRUE(Find(index, {1, 0, 0}, 10).empty());
  ASSERT_TRUE(index.Apply(Put(1, "only", {0, 0, -1})).ok());
  EXPECT_EQ(Find(index, {0, 0, 1}, 10), std::vector<std::string>{"only"});
}

TEST_P(BothKindsTest, ReplacedAndRemovedDocumentsAreNotFound) {
  CollectionIndex index(Spec(GetParam(), 2));
  ASSERT_TRUE(index.Apply(Put(1, "a", {1, 0})).ok());
  ASSERT_TRUE(index.Apply(Put(2, "b", {0.9f, 0.1f})).ok());
  ASSERT_TRUE(index.Apply(Put(3, "a", {-1, 0})).ok());
  auto found = *index.Search({{1, 0}}, 10, {});
  ASSERT_EQ(Ids(found[0]), (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(found[0][1].number, 3);
  EXPECT_EQ(index.size(), 2);

  IndexChange removal;
  removal.removed = {2, 1, 99};  // 1 was replaced long ago, 99 never was
  ASSERT_TRUE(index.Apply(std::move(removal)).ok());
  EXPECT_EQ(Find(index, {1, 0}, 10), std::vector<std::string>{"a"});
}

TEST_P(BothKindsTest, FiltersOnMetadata) {
  CollectionIndex index(Spec(GetParam(), 2));
  for (int i = 0; i < 100; ++i) {
    const Metadata metadata = {{"even", i % 2 == 0}, {"tens", static_cast<double>(i / 10)}};
    ASSERT_TRUE(index.Apply(Put(i, absl::StrCat(1000 + i), {1, 0.01f * i}, metadata)).ok());
  }
  EXPECT_EQ(Find(index, {1, 0}, 3, {{"even", true}, {"tens", 4.0}}),
            (std::vector<std::string>{"1040", "1042", "1044"}));
  EXPECT_EQ(Find(index, {1, 0}, 100, {{"tens", 9.0}}).size(), 10u);
  EXPECT_TRUE(Find(index, {1, 0}, 3, {{"tens", std::string("4")}}).empty());
}

TEST_P(BothKindsTest, AVectorOfAnotherLengthIsAnError) {
  CollectionIndex index(Spec(GetParam(), 3));
  EXPECT_FALSE(index.Apply(Put(1, "a", {1, 2})).ok());
  EXPECT_FALSE(index.Search({{1, 2}}, 1, {}).ok());
}

TEST_P(BothKindsTest, CompactionKeepsWhatIsAlive) {
  CollectionIndex index(Spec(GetParam(), 8));
  const auto vectors = RandomVectors(2000, 8, 1);
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(index.Apply(Put(i, absl::StrCat(i % 900), vectors[i])).ok());
  ASSERT_TRUE(index.WantsCompaction());
  const auto compacted = index.Compacted();
  ASSERT_TRUE(compacted.ok());
  EXPECT_FALSE((*compacted)->WantsCompaction());
  EXPECT_EQ((*compacted)->size(), 900);
  EXPECT_LT((*compacted)->bytes(), index.bytes());
  for (int q = 0; q < 20; ++q) {
    EXPECT_EQ(Find(**compacted, vectors[q], 1), Find(index, vectors[q], 1));
  }
}

TEST(FlatIndexTest, AgreesWithAPlainLoop) {
  constexpr int kCount = 1000, kDimensions = 33, kTop = 10;
  CollectionIndex index(Spec(v1::INDEX_KIND_FLAT, kDimensions, v1::VECTOR_METRIC_DOT_PRODUCT));
  const auto vectors = RandomVectors(kCount, kDimensions, 2);
  for (int i = 0; i < kCount; ++i) ASSERT_TRUE(index.Apply(Put(i, absl::StrCat(i), vectors[i])).ok());
  const auto queries = RandomVectors(40, kDimensions, 3);
  const auto together = *index.Search(queries, kTop, {});
  for (size_t q = 0; q < queries.size(); ++q) {
    std::vector<std::pair<double, int>> expected;
    for (int i = 0; i < kCount; ++i) {
      double score = 0;
      for (int d = 0; d < kDimensions; ++d) score += static_cast<double>(queries[q][d]) * vectors[i][d];
      expected.emplace_back(-score, i);
    }
    std::sort(expected.begin(), expected.end());
    const auto alone = *index.Search({queries[q]}, kTop, {});
    for (int r = 0; r < kTop; ++r) {
      EXPECT_EQ(together[q][r].number, expected[r].second);
      EXPECT_NEAR(together[q][r].score, -expected[r].first, 1e-4);
      EXPECT_EQ(together[q][r].score, alone[0][r].score);  // bit for bit: company does not change a score
    }
  }
}

// Share of the exact 10 nearest that HNSW finds, on clustered vectors as embeddings are.
double HnswRecall(const CollectionIndex& hnsw, const CollectionIndex& flat, const std::vector<Vector>& queries,
                  const Metadata& filter) {
  int found = 0, total = 0;
  for (const Vector& query : queries) {
    const auto exact = Find(flat, query, 10, filter);
    const auto near = Find(hnsw, query, 10, filter);
    EXPECT_EQ(near.size(), exact.size());
    const std::set<std::string> wanted(exact.begin(), exact.end());
    for (const std::string& id : near) found += wanted.contains(id);
    total += static_cast<int>(exact.size());
  }
  return static_cast<double>(found) / total;
}

TEST(HnswIndexTest, FindsNearlyWhatFlatFinds) {
  constexpr int kCount = 5000, kDimensions = 32;
  const auto centers = RandomVectors(50, kDimensions, 4);
  auto vectors = RandomVectors(kCount, kDimensions, 5);
  auto queries = RandomVectors(50, kDimensions, 6);
  for (int i = 0; i < kCount; ++i) {
    for (int d = 0; d < kDimensions; ++d) vectors[i][d] = centers[i % 50][d] + 0.6f * vectors[i][d];
  }
  for (int i = 0; i < 50; ++i) {
    for (int d = 0; d < kDimensions; ++d) queries[i][d] = centers[i][d] + 0.6f * queries[i][d];
  }
  CollectionIndex hnsw(Spec(v1::INDEX_KIND_HNSW, kDimensions));
  CollectionIndex graph(Spec(v1::INDEX_KIND_HNSW, kDimensions), /*exact_below=*/0);
  CollectionIndex flat(Spec(v1::INDEX_KIND_FLAT, kDimensions));
  for (CollectionIndex* index : {&hnsw, &graph, &flat}) {
    IndexChange change;
    for (int i = 0; i < kCount; ++i) {
      change.put.push_back({i,
                            absl::StrCat(i),
                            {{"even_clusters", i % 2 == 0}, {"half", i / 50 % 2 == 0}, {"rare", i % 500 == 0}},
                            vectors[i]});
    }
    ASSERT_TRUE(index->Apply(std::move(change)).ok());
  }
  EXPECT_GT(HnswRecall(hnsw, flat, queries, {}), 0.97);
  EXPECT_GT(HnswRecall(graph, flat, queries, {{"half", true}}), 0.97);
  // So few that they are compared one by one, also where the filter leaves out all that is near.
  EXPECT_EQ(HnswRecall(graph, flat, queries, {{"rare", true}}), 1);
  EXPECT_EQ(HnswRecall(hnsw, flat, queries, {{"even_clusters", true}}), 1);

  IndexChange removal;
  for (int i = 0; i < kCount; i += 3) removal.removed.push_back(i);
  const IndexChange same = removal;
  ASSERT_TRUE(hnsw.Apply(std::move(removal)).ok());
  ASSERT_TRUE(flat.Apply(same).ok());
  EXPECT_GT(HnswRecall(hnsw, flat, queries, {}), 0.97);
}

TEST(HnswIndexTest, SearchesGoOnWhileALargeChangeIsApplied) {
  CollectionIndex index(Spec(v1::INDEX_KIND_HNSW, 64));
  ASSERT_TRUE(index.Apply(Put(0, "first", Vector(64, 1))).ok());
  IndexChange change;
  const auto vectors = RandomVectors(4000, 64, 5);
  for (int i = 0; i < 4000; ++i) change.put.push_back({i + 1, absl::StrCat("d", i), {}, vectors[i]});
  std::atomic<bool> done = false;
  std::jthread writer([&] {  // joins however the test ends
    EXPECT_TRUE(index.Apply(std::move(change)).ok());
    done = true;
  });
  int between = 0;  // searches that ended while the change was under way
  while (!done) {
    const auto found = Find(index, Vector(64, 1), 5000);
    ASSERT_TRUE(found.size() == 1 || found.size() == 4001) << found.size() << ": part of a change";
    between += found.size() == 1 && !done;
  }
  writer.join();
  EXPECT_GT(between, 1) << "searches waited for the whole change";
  EXPECT_EQ(Find(index, Vector(64, 1), 5000).size(), 4001u);
}

TEST_P(BothKindsTest, SearchesSeeChangesWholeWhileOthersWrite) {
  CollectionIndex index(Spec(GetParam(), 4));
  // Every change replaces a pair of documents by one of the next generation: a search that saw half of one would find
  // two generations, or one document.
  const int kGenerations = GetParam() == v1::INDEX_KIND_FLAT ? 300 : 60;
  const auto pair = [](int generation) {
    IndexChange change;
    const Metadata metadata = {{"generation", static_cast<double>(generation)}};
    change.put.push_back({2 * generation, "left", metadata, {1, 0, 0, 0}});
    change.put.push_back({2 * generation + 1, "right", metadata, {0, 1, 0, 0}});
    return change;
  };
  ASSERT_TRUE(index.Apply(pair(0)).ok());
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!done) {
        const auto found = index.Search({{1, 1, 0, 0}}, 10, {});
        ASSERT_TRUE(found.ok());
        ASSERT_EQ(found->at(0).size(), 2u);
        ASSERT_EQ(found->at(0)[0].number / 2, found->at(0)[1].number / 2);
      }
    });
  }
  for (int generation = 1; generation < kGenerations; ++generation) ASSERT_TRUE(index.Apply(pair(generation)).ok());
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(index.size(), 2);
}

}  // namespace
}  // namespace tenon::server
