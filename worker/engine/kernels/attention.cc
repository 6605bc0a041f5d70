#include "worker/engine/kernels/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "worker/engine/kernels/dropout_draws.h"
#include "worker/engine/kernels/small_product.h"
#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {
namespace {

constexpr int64_t RoundUp(int64_t value) { return (value + kLanes - 1) / kLanes * kLanes; }

// Matrices of one piece, padded with zeros to whole tiles; made once for many pieces.
class Scratch {
 public:
  Scratch(const Attention& attention, int matrices, int squares)
      : side_(RoundUp(attention.longest)),
        width_(RoundUp(attention.head_size)),
        memory_(static_cast<size_t>(side_ * width_ * matrices + side_ * side_ * squares)),
        next_(memory_.data()) {}
  float* Matrix() { return Take(side_ * width_); }
  float* Square() { return Take(side_ * side_); }

 private:
  float* Take(int64_t count) {
    float* taken = next_;
    next_ += count;
    return taken;
  }
  int64_t side_, width_;
  std::vector<float> memory_;
  float* next_;
};

// A row's queries, or its keys.
struct Run {
  int64_t first, length, side;

  Run(const int64_t* offsets, int64_t row)
      : first(offsets[row]), length(offsets[row + 1] - first), side(RoundUp(length)) {}
};

// Where one row and head lies.
struct Piece {
  Run queries, keys;
  int64_t head, column, size, width;

  Piece(const Attention& attention, int64_t index)
      : queries(attention.offsets, index / attention.heads),
        keys(attention.key_offsets != nullptr ? attention.key_offsets : attention.offsets, index / attention.heads),
        head(index % attention.heads),
        column(head * attention.head_size),
        size(attention.head_size),
        width(RoundUp(size)) {}
};

// to[side, width] = (from + bias) * scale, zeros beyond; `from` is token 0.
TENON_INLINE void Gather(const Piece& piece, const Run& run, const float* from, int64_t stride, const float* bias,
                         float scale, float* to) {
  from += run.first * stride + piece.column;
  for (int64_t i = 0; i < run.side; ++i) {
    for (int64_t c = 0; c < piece.width; c += kLanes) {
      Floats value{};
      if (i < run.length) {
        value = LoadFirst(from + i * stride + c, piece.size - c);
        if (bias != nullptr) value += LoadFirst(bias + piece.column + c, piece.size - c);
        value *= scale;
      }
      Store(to + i * piece.width + c, value);
    }
  }
}

// to[width, side] = from[side, width] transposed.
TENON_INLINE void Transpose(const Piece& piece, const Run& run, const float* from, float* to) {
  for (int64_t i = 0; i < run.side; ++i) {
    for (int64_t c = 0; c < piece.width; ++c) to[c * run.side + i] = from[i * piece.width + c];
  }
}

// The first `length` lines of from[side, width] to where the run's tokens lie.
TENON_INLINE void Scatter(const Piece& piece, const Run& run, const float* from, float scale, float* to,
                          int64_t stride) {
  to += run.first * stride + piece.column;
  for (int64_t i = 0; i < run.length; ++i) {
    for (int64_t c = 0; c < piece.width; c += kLanes) {
      StoreFirst(to + i * stride + c, Load(from + i * piece.width + c) * scale, piece.size - c);
    }
  }
}

// The inputs of one piece after another, gathered, and room for a transposed matrix.
struct Inputs {
  float *q, *keys, *v, *turned;

  explicit Inputs(Scratch& scratch)
      : q(scratch.Matrix()), keys(scratch.Matrix()), v(scratch.Matrix()), turned(scratch.Matrix()) {}
};

// Gathers a piece's q, keys and v; scores[queries' side, keys' side] = scale q keys^T, distances added.
TENON_INLINE void Score(const Attention& attention, const Piece& piece, const Inputs& inputs, float* scores) {
  const Run &queries = piece.queries, &keys = piece.keys;
  Gather(piece, queries, attention.q, attention.stride, attention.q_bias, attention.scale, inputs.q);
  Gather(piece, keys, attention.k, attention.key_stride, attention.k_bias, 1, inputs.keys);
  Gather(piece, keys, attention.v, attention.key_stride, attention.v_bias, 1, inputs.v);
  Transpose(piece, keys, inputs.keys, inputs.turned);
  Product({inputs.q, piece.width, 1}, inputs.turned, keys.side, scores, keys.side, queries.side, keys.side,
          piece.width);
  if (attention.distances == nullptr) return;
  const float* zero = attention.distances + piece.head * attention.distance_stride;
  for (int64_t i = 0; i < queries.length; ++i) {
    float* line = scores + i * keys.side;
    for (int64_t j = 0; j < keys.side; j += kLanes) Store(line + j, Load(line + j) + Load(zero + j - i));
  }
}

// Keys that query i sees, from the first on.
TENON_INLINE int64_t Seen(const Attention& attention, const Piece& piece, int64_t i) {
  return attention.causal && i < piece.keys.length ? i + 1 : piece.keys.length;
}

// Place of query i's draws: every token and head has a line of them as wide as the longest row.
TENON_INLINE int64_t DrawLine(const Attention& attention, const Piece& piece, int64_t i) {
  return (piece.queries.first + i) * attention.heads + piece.head;
}

// Scores of one query become probabilities, zero beyond the keys it sees; returns the log of their sum.
TENON_INLINE float Softmax(const Piece& piece, int64_t seen, float* scores) {
  const int64_t last = piece.keys.side - kLanes;
  const Floats nothing = Splat(-std::numeric_limits<float>::infinity());
  Floats top = nothing;
  for (int64_t j = 0; j <= last; j += kLanes) top = Max(top, KeepFirst(Load(scores + j), seen - j, nothing));
  const float largest = Largest(top);
  Floats sum{};
  for (int64_t j = 0; j <= last; j += kLanes) {
    const Floats value = KeepFirst(Exp(Load(scores + j) - largest), seen - j);
    sum += value;
    Store(scores + j, value);
  }
  const float total = Sum(sum);
  const float inverse = 1 / total;
  for (int64_t j = 0; j <= last; j += kLanes) Store(scores + j, Load(scores + j) * inverse);
  return largest + std::log(total);
}

// Adds the scores' gradients [queries' side, keys' side] up by distance.
TENON_INLINE void AddDistances(const Attention& attention, const AttentionGradient& gradient, const Piece& piece,
                               int64_t index, const float* grads) {
  float* zero = gradient.distances_grad + index * attention.distance_stride + gradient.zero;
  for (int64_t i = 0; i < piece.queries.length; ++i) {
    const float* line = grads + i * piece.keys.side;
    for (int64_t j = 0; j < piece.keys.side; j += kLanes) Store(zero + j - i, Load(zero + j - i) + Load(line + j));
  }
}

// Drops and scales one query's line in place.
TENON_INLINE void Drop(const Attention& attention, const Piece& piece, int64_t i, float* line) {
  const int64_t chunks = DropoutChunks(attention.longest);
  for (int64_t j = 0; j < piece.keys.side; j += kDrawsAtOnce) {
    const KeepScales keep = Draw(attention.mask, DrawLine(attention, piece, i), chunks, j / kDrawsAtOnce);
    Store(line + j, Load(line + j) * keep.low);
    if (j + kLanes < piece.keys.side) Store(line + j + kLanes, Load(line + j + kLanes) * keep.high);
  }
}

}  // namespace

TENON_CPU_CLONES
void RunAttention(const Attention& attention, float* context, float* log_sum, int64_t begin, int64_t end) {
  Scratch scratch(attention, 4, 1);
  const Inputs inputs(scratch);
  float* scores = scratch.Square();
  for (int64_t index = begin; index < end; ++index) {
    const Piece piece(attention, index);
    const Run &queries = piece.queries, &keys = piece.keys;
    const int64_t side = keys.side, width = piece.width;
    Score(attention, piece, inputs, scores);
    for (int64_t i = 0; i < queries.length; ++i) {
      log_sum[DrawLine(attention, piece, i)] = Softmax(piece, Seen(attention, piece, i), scores + i * side);
      if (attention.mask.active()) Drop(attention, piece, i, scores + i * side);
    }
    Product({scores, side, 1}, inputs.v, width, inputs.q, width, queries.side, width, keys.length);
    Scatter(piece, queries, inputs.q, 1, context, attention.heads * piece.size);
  }
}

TENON_CPU_CLONES
void RunAttentionGradient(const Attention& attention, const AttentionGradient& gradient, int64_t begin, int64_t end) {
  Scratch scratch(attention, 6, 3);
  const Inputs inputs(scratch);
  float *out = scratch.Matrix(), *made = scratch.Matrix();
  float *kept = scratch.Square(), *grads = scratch.Square(), *probabilities = scratch.Square();
  for (int64_t index = begin; index < end; ++index) {
    const Piece piece(attention, index);
    const Run &queries = piece.queries, &keys = piece.keys;
    const int64_t side = keys.side, width = piece.width;
    Score(attention, piece, inputs, probabilities);
    Gather(piece, queries, gradient.context_grad, attention.heads * piece.size, nullptr, 1, out);
    Transpose(piece, keys, inputs.v, inputs.turned);
    Product({out, width, 1}, inputs.turned, side, grads, side, queries.side, side, width);
    for (int64_t i = 0; i < queries.side; ++i) {
      float *p = probabilities + i * side, *d = kept + i * side, *g = grads + i * side;
      const bool real = i < queries.length;
      const float log_sum = real ? gradient.log_sum[DrawLine(attention, piece, i)] : 0;
      const int64_t seen = Seen(attention, piece, i);
      for (int64_t j = 0; j < side; j += kLanes) {
        const Floats value = real ? KeepFirst(Exp(Load(p + j) - log_sum), seen - j) : Floats{};
        Store(p + j, value);
        Store(d + j, value);
      }
      if (attention.mask.active() && real) {
        Drop(attention, piece, i, d);
        Drop(attention, piece, i, g);
      }
      // By the softmax: dS = P * (dP - sum(P * dP)).
      Floats sum{};
      for (int64_t j = 0; j < side; j += kLanes) sum += Load(p + j) * Load(g + j);
      const float mean = Sum(sum);
      for (int64_t j = 0; j < side; j += kLanes) Store(g + j, Load(p + j) * (Load(g + j) - mean));
    }
    if (gradient.distances_grad != nullptr) AddDistances(attention, gradient, piece, index, grads);
    Product({kept, 1, side}, out, width, made, width, side, width, queries.length);
    Scatter(piece, keys, made, 1, gradient.v_grad, attention.key_stride);
    Product({grads, side, 1}, inputs.keys, width, made, width, queries.side, width, keys.length);
    Scatter(piece, queries, made, attention.scale, gradient.q_grad, attention.stride);
    Product({grads, 1, side}, inputs.q, width, made, width, side, width, queries.length);
    Scatter(piece, keys, made, 1, gradient.k_grad, attention.key_stride);
  }
}

}  // namespace tenon::engine::kernels
