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

// Where one row and head lies.
struct Piece {
  int64_t first, length, side, head, column, size, width;

  Piece(const Attention& attention, int64_t index)
      : first(attention.offsets[index / attention.heads]),
        length(attention.offsets[index / attention.heads + 1] - first),
        side(RoundUp(length)),
        head(index % attention.heads),
        column(head * attention.head_size),
        size(attention.head_size),
        width(RoundUp(size)) {}
};

// to[side, width] = (from + bias) * scale, zeros beyond; `from` is the row's first token.
TENON_INLINE void Gather(const Piece& piece, const float* from, int64_t stride, const float* bias, float scale,
                         float* to) {
  from += piece.first * stride + piece.column;
  for (int64_t i = 0; i < piece.side; ++i) {
    for (int64_t c = 0; c < piece.width; c += kLanes) {
      Floats value{};
      if (i < piece.length) {
        value = LoadFirst(from + i * stride + c, piece.size - c);
        if (bias != nullptr) value += LoadFirst(bias + piece.column + c, piece.size - c);
        value *= scale;
      }
      Store(to + i * piece.width + c, value);
    }
  }
}

// to[width, side] = from[side, width] transposed.
TENON_INLINE void Transpose(const Piece& piece, const float* from, float* to) {
  for (int64_t i = 0; i < piece.side; ++i) {
    for (int64_t c = 0; c < piece.width; ++c) to[c * piece.side + i] = from[i * piece.width + c];
  }
}

// The first `length` lines of from[side, width] to where the row's tokens lie.
TENON_INLINE void Scatter(const Piece& piece, const float* from, float scale, float* to, int64_t stride) {
  to += piece.first * stride + piece.column;
  for (int64_t i = 0; i < piece.length; ++i) {
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

// Gathers a piece's q, keys and v; scores[side, side] = scale q keys^T.
TENON_INLINE void Score(const Attention& attention, const Piece& piece, const Inputs& inputs, float* scores) {
  Gather(piece, attention.q, attention.stride, attention.q_bias, attention.scale, inputs.q);
  Gather(piece, attention.k, attention.stride, attention.k_bias, 1, inputs.keys);
  Gather(piece, attention.v, attention.stride, attention.v_bias, 1, inputs.v);
  Transpose(piece, inputs.keys, inputs.turned);
  Product({inputs.q, piece.width, 1}, inputs.turned, piece.side, scores, piece.side, piece.side, piece.side,
          piece.width);
}

// Place of query i's draws: every token and head has a line of them as wide as the longest row.
TENON_INLINE int64_t DrawLine(const Attention& attention, const Piece& piece, int64_t i) {
  return (piece.first + i) * attention.heads + piece.head;
}

// Scores of one query become probabilities, zero beyond the row's end; returns the log of their sum.
TENON_INLINE float Softmax(const Piece& piece, float* scores) {
  const int64_t last = piece.side - kLanes;
  const Floats nothing = Splat(-std::numeric_limits<float>::infinity());
  Floats top = nothing;
  for (int64_t j = 0; j <= last; j += kLanes) top = Max(top, KeepFirst(Load(scores + j), piece.length - j, nothing));
  const float largest = Largest(top);
  Floats sum{};
  for (int64_t j = 0; j <= last; j += kLanes) {
    const Floats value = KeepFirst(Exp(Load(scores + j) - largest), piece.length - j);
    sum += value;
    Store(scores + j, value);
  }
  const float total = Sum(sum);
  const float inverse = 1 / total;
  for (int64_t j = 0; j <= last; j += kLanes) Store(scores + j, Load(scores + j) * inverse);
  return largest + std::log(total);
}

// Drops and scales one query's line in place.
TENON_INLINE void Drop(const Attention& attention, const Piece& piece, int64_t i, float* line) {
  const int64_t chunks = DropoutChunks(attention.longest);
  for (int64_t j = 0; j < piece.side; j += kDrawsAtOnce) {
    const KeepScales keep = Draw(attention.mask, DrawLine(attention, piece, i), chunks, j / kDrawsAtOnce);
    Store(line + j, Load(line + j) * keep.low);
    if (j + kLanes < piece.side) Store(line + j + kLanes, Load(line + j + kLanes) * keep.high);
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
    const int64_t side = piece.side, width = piece.width;
    Score(attention, piece, inputs, scores);
    for (int64_t i = 0; i < piece.length; ++i) {
      log_sum[DrawLine(attention, piece, i)] = Softmax(piece, scores + i * side);
      if (attention.mask.active()) Drop(attention, piece, i, scores + i * side);
    }
    Product({scores, side, 1}, inputs.v, width, inputs.q, width, side, width, piece.length);
    Scatter(piece, inputs.q, 1, context, attention.heads * piece.size);
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
    const int64_t side = piece.side, width = piece.width;
    Score(attention, piece, inputs, probabilities);
    Gather(piece, gradient.context_grad, attention.heads * piece.size, nullptr, 1, out);
    Transpose(piece, inputs.v, inputs.turned);
    Product({out, width, 1}, inputs.turned, side, grads, side, side, side, width);
    for (int64_t i = 0; i < piece.side; ++i) {
      float *p = probabilities + i * side, *d = kept + i * side, *g = grads + i * side;
      const bool real = i < piece.length;
      const float log_sum = real ? gradient.log_sum[DrawLine(attention, piece, i)] : 0;
      for (int64_t j = 0; j < side; j += kLanes) {
        const Floats value = real ? KeepFirst(Exp(Load(p + j) - log_sum), piece.length - j) : Floats{};
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
    Product({kept, 1, side}, out, width, made, width, side, width, piece.length);
    Scatter(piece, made, 1, gradient.v_grad, attention.stride);
    Product({grads, side, 1}, inputs.keys, width, made, width, side, width, piece.length);
    Scatter(piece, made, attention.scale, gradient.q_grad, attention.stride);
    Product({grads, 1, side}, inputs.q, width, made, width, side, width, piece.length);
    Scatter(piece, made, 1, gradient.k_grad, attention.stride);
  }
}

}  // namespace tenon::engine::kernels
