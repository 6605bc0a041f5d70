// Many kinds of adapters over one batch of a T5: each row gets what it gets alone.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/t5_config.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tensor_file.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/engine/adapter/bottleneck.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/model/decode/decoder.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/t5/model.h"

namespace tenon::engine {
namespace {

using formats::BottleneckLayout;

struct Row {
  std::vector<int32_t> ids;
  std::string adapter;  // empty: the base
};

class T5AdaptersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTinyT5(folder_ / "base", shape_);
    const auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    testing::WriteTinyT5Lora(folder_ / "lora-2", shape_, {.r = 2, .seed = 11});
    testing::WriteTinyT5Lora(folder_ / "lora-7", shape_,
                             {.r = 7, .target_modules = {"q", "k", "v", "o"}, .spread = 0.1, .seed = 12});
    testing::WriteTinyT5Prompt(folder_ / "prompt-3", shape_, {.r = 3, .spread = 1, .seed = 13});
    testing::WriteTinyT5Prompt(folder_ / "prompt-20", shape_, {.r = 20, .submodules = 1, .spread = 1, .seed = 14});
    testing::WriteTinyT5Bottleneck(folder_ / "seq", shape_, {.r = 4, .seed = 15});
    testing::WriteTinyT5Bottleneck(folder_ / "double", shape_,
                                   {.r = 1, .layout = BottleneckLayout::kDoubleSeqBn, .seed = 16});
    testing::WriteTinyT5Bottleneck(
        folder_ / "beside", shape_,
        {.r = 2, .layout = BottleneckLayout::kParBn, .after_cross_attention = true, .spread = 0.1, .seed = 17});
    for (const char* name : {"lora-2", "lora-7", "prompt-3", "prompt-20", "seq", "double", "beside"}) Place(name);
  }
  void Place(const std::string& name) {
    const auto host = HostAdapter::Load(folder_ / name, *base_);
    ASSERT_TRUE(host.ok()) << name << ": " << host.status();
    const auto placed = DeviceAdapter::Place(*host, *base_);
    ASSERT_TRUE(placed.ok()) << name << ": " << placed.status();
    adapters_[name] = *placed;
  }
  const DeviceAdapter* Adapter(const std::string& name) const {
    return name.empty() ? nullptr : adapters_.at(name).get();
  }
  std::vector<Row> Rows() const {
    std::vector<Row> rows;
    int32_t n = 0;
    for (const char* name :
         {"beside", "", "prompt-3", "lora-7", "seq", "prompt-20", "lora-2", "double", "prompt-3", "", "seq"}) {
      Row& row = rows.emplace_back();
      row.adapter = name;
      for (int32_t i = 0; i < 1 + n % 5 * 3; ++i) row.ids.push_back(4 + (n * 11 + i * 5) % 58);
      row.ids.push_back(1);
      ++n;
    }
    return rows;
  }
  // Of each row, [steps, vocab].
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows, Decoder& decoder) const {
    const c10::InferenceMode inference;
    std::vector<DecoderSource> sources;
    for (const Row& row : rows) sources.push_back({&row.ids, Adapter(row.adapter)});
    const absl::Status joined = decoder.Join(sources);
    EXPECT_TRUE(joined.ok()) << joined;
    std::vector<at::Tensor> steps;
    for (int32_t step = 0; step < 6; ++step) {
      steps.push_back(decoder.Step(std::vector<int32_t>(rows.size(), step == 0 ? 0 : 3 + step * 7)));
    }
    return at::stack(steps, 1).unbind(0);
  }
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows) const {
    const auto decoder = base_->NewDecoder();
    EXPECT_TRUE(decoder.ok()) << decoder.status();
    return Logits(rows, **decoder);
  }
  GenerationRequest Request(const Row& row, uint64_t id, int64_t beams) const {
    GenerationRequest request;
    request.id = id;
    request.source = row.ids;
    request.prefix = {0};
    if (!row.adapter.empty()) request.adapter = adapters_.at(row.adapter);
    request.plan.max_length = 14;
    request.plan.eos_token_ids = {1};
    if (beams > 1) {
      request.plan.mode = SearchMode::kBeam;
      request.plan.num_beams = request.plan.num_return_sequences = beams;
    }
    return request;
  }
  std::map<uint64_t, std::vector<GeneratedSequence>> Generate(std::vector<GenerationRequest> requests,
                                                              std::vector<uint64_t>* overflowed = nullptr) const {
    auto batch = *GenerationBatch::Open(*base_, {});
    EXPECT_TRUE(batch->Join(std::move(requests)).ok());
    std::map<uint64_t, std::vector<GeneratedSequence>> written;
    while (batch->requests() > 0) {
      const auto events = batch->Step();
      EXPECT_TRUE(events.ok()) << events.status();
      if (!events.ok()) break;
      for (const GenerationEvent& event : *events) {
        if (event.finished && event.finite) written[event.id] = event.sequences;
        if (!event.finite && overflowed != nullptr) overflowed->push_back(event.id);
      }
    }
    EXPECT_EQ(batch->reserved_tokens(), 0);
    return written;
  }

  const test::TempFolder folder_;
  testing::TinyT5 shape_;
  std::shared_ptr<const Base> base_;
  std::map<std::string, std::shared_ptr<const DeviceAdapter>> adapters_;
};

TEST_F(T5AdaptersTest, ARowInAMixedBatchIsWhatItIsAlone) {
  const std::vector<Row> rows = Rows();
  const std::vector<at::Tensor> mixed = Logits(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor alone = Logits({rows[i]})[0];
    // Relative to the logits' size: products of one line and of many may be other kernels.
    const at::Tensor difference = (mixed[i] - alone).abs().max();
    EXPECT_LE(difference.item<float>(), 1e-5F * alone.abs().max().item<float>()) << i << " " << rows[i].adapter;
    if (rows[i].adapter.empty()) continue;
    const at::Tensor base = Logits({{rows[i].ids, ""}})[0];
    EXPECT_FALSE(at::allclose(alone, base, 1e-2, 1e-2)) << rows[i].adapter << " changes nothing";
  }
}

TEST_F(T5AdaptersTest, TorchsOperatorsGiveTheSame) {
  const auto config = formats::ReadT5Config(folder_ / "base");
  const auto weights = formats::Safetensors::OpenModel(folder_ / "base", {});
  const auto plain = T5Model::Load(*config, **weights, Device{}, Precision::kFp32, /*prepare_inference=*/false);
  ASSERT_TRUE(plain.ok()) << plain.status();
  const auto decoder = NewSourceDecoder(*plain);
  const std::vector<Row> rows = Rows();
  const std::vector<at::Tensor> one = Logits(rows), other = Logits(rows, *decoder);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(at::allclose(one[i], other[i], 1e-4, 1e-4)) << rows[i].adapter;
  }
}

// A prompt of words' own embeddings is those words.
TEST_F(T5AdaptersTest, VirtualTokensStandWhereTokensWould) {
  const auto weights = *formats::Safetensors::OpenModel(folder_ / "base", {});
  const auto* table = reinterpret_cast<const float*>(weights->Find("shared.weight")->data);
  const std::vector<int32_t> words = {9, 33, 9, 50};
  testing::WriteTinyT5Prompt(folder_ / "words", shape_, {.r = 4, .submodules = 1});
  testing::TensorFile file(1);
  std::vector<float>& rows = file.Add("prompt_embeddings", {4, shape_.d_model}, 0, 1);
  for (size_t i = 0; i < words.size(); ++i) {
    std::copy_n(table + words[i] * shape_.d_model, shape_.d_model,
                rows.begin() + static_cast<int64_t>(i) * shape_.d_model);
  }
  file.Write(folder_ / "words" / "adapter_model.safetensors");
  Place("words");
  const std::vector<int32_t> text = {20, 21, 22, 1};
  std::vector<int32_t> whole = words;
  whole.insert(whole.end(), text.begin(), text.end());
  const auto both = Logits({{text, "words"}, {whole, ""}, {text, "lora-2"}});
  EXPECT_TRUE(at::allclose(both[0], both[1], 1e-5, 1e-5));
}

// The base's own output layer is left out when it is read; another one is the row's alone.
TEST_F(T5AdaptersTest, AnOutputLayerOfItsOwnIsOneRows) {
  testing::WriteTinyT5Bottleneck(folder_ / "head", shape_, {.r = 4, .output_layer_of = folder_ / "base", .seed = 15});
  Place("head");
  testing::TensorFile file(40);
  std::vector<float>& layer = file.Add("lm_head.weight", {shape_.vocab, shape_.d_model}, 0, 1);
  const at::Tensor weight =
      at::from_blob(layer.data(), {shape_.vocab, shape_.d_model}, at::TensorOptions().dtype(at::kFloat)).clone();
  std::filesystem::copy(folder_ / "head", folder_ / "other", std::filesystem::copy_options::recursive);
  file.Write(folder_ / "other" / "model_head.safetensors");
  Place("other");
  const std::vector<int32_t> ids = {8, 30, 12, 1};
  const auto rows = Logits({{ids, ""}, {ids, "other"}, {ids, "seq"}, {ids, "head"}});
  EXPECT_TRUE(at::allclose(rows[2], rows[3], 1e-5, 1e-5)) << "seq is the same adapter without the copy";
  EXPECT_FALSE(at::allclose(rows[1], rows[3], 1e-1, 1e-1));
  EXPECT_TRUE(at::allclose(rows[0], Logits({{ids, ""}})[0], 1e-5, 1e-5));
  EXPECT_TRUE(at::equal(adapters_.at("other")->tensors().modules.at("lm_head").weight, weight));
}

TEST_F(T5AdaptersTest, MixedRequestsWriteWhatEachWritesAlone) {
  const std::vector<Row> rows = Rows();
  std::vector<GenerationRequest> together;
  for (size_t i = 0; i < 2 * rows.size(); ++i) {
    together.push_back(Request(rows[i % rows.size()], i, i < rows.size() ? 1 : 3));
  }
  const auto mixed = Generate(together);
  ASSERT_EQ(mixed.size(), together.size());
  for (const GenerationRequest& request : together) {
    const auto alone = Generate({request});
    ASSERT_EQ(alone.at(request.id).size(), mixed.at(request.id).size());
    for (size_t i = 0; i < alone.at(request.id).size(); ++i) {
      EXPECT_EQ(alone.at(request.id)[i].tokens, mixed.at(request.id)[i].tokens)
          << rows[request.id % rows.size()].adapter;
    }
  }
}

TEST_F(T5AdaptersTest, VirtualTokensTakeRoomInTheBatch) {
  const Row row{{5, 6, 1}, "prompt-20"};
  EXPECT_EQ(SourceTokens(Request(row, 1, 1)), 23);
  EXPECT_EQ(SourceTokens(Request({row.ids, ""}, 1, 1)), 3);
  auto batch = *GenerationBatch::Open(*base_, {.max_lines = 8, .max_tokens = 23 + 14});
  ASSERT_TRUE(batch->Join({Request(row, 1, 1)}).ok());
  EXPECT_EQ(batch->reserved_tokens(), 23 + 14);
  EXPECT_FALSE(batch->CanJoin(Request(row, 2, 1).plan, 23));
  EXPECT_FALSE(batch->Join({Request({row.ids, ""}, 2, 1)}).ok());
}

TEST_F(T5AdaptersTest, AnAdapterThatOverflowsFailsItsOwnRequests) {
  testing::WriteTinyT5Prompt(folder_ / "huge", shape_, {.r = 3, .spread = 1e25});
  Place("huge");
  const std::vector<int32_t> ids = {7, 8, 1};
  std::vector<GenerationRequest> together = {Request({ids, ""}, 0, 3), Request({ids, "huge"}, 1, 1),
                                             Request({ids, "seq"}, 2, 1), Request({ids, "huge"}, 3, 3)};
  std::vector<uint64_t> overflowed;
  const auto written = Generate(together, &overflowed);
  EXPECT_EQ(overflowed, (std::vector<uint64_t>{1, 3}));
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written.at(0)[0].tokens, Generate({together[0]}).at(0)[0].tokens);
  EXPECT_EQ(written.at(2)[0].tokens, Generate({together[2]}).at(2)[0].tokens);
}

// Our product and torch's, behind every activation and in every place.
TEST_F(T5AdaptersTest, BlocksInPanelsAreBlocks) {
  const c10::InferenceMode inference;
  const at::Tensor h = at::randn({13, 32}), residual = at::randn({13, 32});
  for (const char* name : {"seq", "double", "beside"}) {
    const AdapterTensors& host = adapters_.at(name)->host().tensors();
    const AdapterTensors& placed = adapters_.at(name)->tensors();
    for (const char* bend : {"relu", "gelu", "gelu_new", "swish", "tanh"}) {
      formats::BottleneckConfig config = host.bottleneck;
      config.non_linearity = bend;
      for (const auto& [module, block] : host.bottlenecks) {
        const Bottleneck& own = placed.bottlenecks.at(module);
        const at::Tensor expected = RunBottleneck(block, config, h, residual, FrozenNorm{});
        EXPECT_TRUE(at::allclose(RunBottleneck(own, config, h, residual, FrozenNorm{}), expected, 1e-4, 1e-5))
            << name << " " << bend << " " << module;
        // A line's result is that line's alone, to the last bit where our own code bends it.
        if (own.down_panels == nullptr || std::string(bend) == "swish" || std::string(bend) == "tanh") continue;
        const at::Tensor all = RunBottleneck(own, config, h, residual, FrozenNorm{});
        const at::Tensor few = RunBottleneck(own, config, h.narrow(0, 5, 1), residual.narrow(0, 5, 1), FrozenNorm{});
        EXPECT_TRUE(at::equal(all.narrow(0, 5, 1), few)) << name << " " << bend;
      }
    }
  }
}

}  // namespace
}  // namespace tenon::engine
