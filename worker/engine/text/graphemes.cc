#include "worker/engine/text/graphemes.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <iterator>

#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

struct Range {
  CodePoint first, last;
};

template <size_t size>
bool IsIn(const Range (&ranges)[size], CodePoint c) {
  const Range* range = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](CodePoint point, const Range& other) { return point < other.first; });
  return range != std::begin(ranges) && c <= (range - 1)->last;
}

// Marks that Unicode has gained since 15.0, the version of the ICU that we build with.
constexpr Range kNewMarks[] = {{0x897, 0x897},     {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x10D69, 0x10D6D},
                               {0x10EFA, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                               {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
                               {0x11B60, 0x11B67}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF},
                               {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}};
// Indic_Conjunct_Break=Linker and =Consonant, which that ICU does not have.
constexpr CodePoint kLinkers[] = {0x94D,   0x9CD,   0xACD,   0xB4D,   0xC4D,   0xD4D,  0x1039,
                                  0x17D2,  0x1A60,  0x1B44,  0x1BAB,  0xA9C0,  0xAAF6, 0x10A3F,
                                  0x11133, 0x113D0, 0x1193E, 0x11A47, 0x11A99, 0x11F42};
constexpr Range kConsonants[] = {
    {0x915, 0x939},     {0x958, 0x95F},     {0x978, 0x97F},     {0x995, 0x9A8},     {0x9AA, 0x9B0},
    {0x9B2, 0x9B2},     {0x9B6, 0x9B9},     {0x9DC, 0x9DD},     {0x9DF, 0x9DF},     {0x9F0, 0x9F1},
    {0xA95, 0xAA8},     {0xAAA, 0xAB0},     {0xAB2, 0xAB3},     {0xAB5, 0xAB9},     {0xAF9, 0xAF9},
    {0xB15, 0xB28},     {0xB2A, 0xB30},     {0xB32, 0xB33},     {0xB35, 0xB39},     {0xB5C, 0xB5D},
    {0xB5F, 0xB5F},     {0xB71, 0xB71},     {0xC15, 0xC28},     {0xC2A, 0xC39},     {0xC58, 0xC5A},
    {0xD15, 0xD3A},     {0x1000, 0x102A},   {0x103F, 0x103F},   {0x1050, 0x1055},   {0x105A, 0x105D},
    {0x1061, 0x1061},   {0x1065, 0x1066},   {0x106E, 0x1070},   {0x1075, 0x1081},   {0x108E, 0x108E},
    {0x1780, 0x17B3},   {0x1A20, 0x1A54},   {0x1B0B, 0x1B0C},   {0x1B13, 0x1B33},   {0x1B45, 0x1B4C},
    {0x1B83, 0x1BA0},   {0x1BAE, 0x1BAF},   {0x1BBB, 0x1BBD},   {0xA989, 0xA98B},   {0xA98F, 0xA9B2},
    {0xA9E0, 0xA9E4},   {0xA9E7, 0xA9EF},   {0xA9FA, 0xA9FE},   {0xAA60, 0xAA6F},   {0xAA71, 0xAA73},
    {0xAA7A, 0xAA7A},   {0xAA7E, 0xAA7F},   {0xAAE0, 0xAAEA},   {0xABC0, 0xABDA},   {0x10A00, 0x10A00},
    {0x10A10, 0x10A13}, {0x10A15, 0x10A17}, {0x10A19, 0x10A35}, {0x11103, 0x11126}, {0x11144, 0x11144},
    {0x11147, 0x11147}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5},
    {0x11900, 0x11906}, {0x11909, 0x11909}, {0x1190C, 0x11913}, {0x11915, 0x11916}, {0x11918, 0x1192F},
    {0x11A00, 0x11A00}, {0x11A0B, 0x11A32}, {0x11A50, 0x11A50}, {0x11A5C, 0x11A83}, {0x11F04, 0x11F10},
    {0x11F12, 0x11F33}};

UGraphemeClusterBreak Break(CodePoint c) {
  if (c == 0x113D1) return U_GCB_PREPEND;  // Tulu-Tigalari repha, of Unicode 16
  if (c == 0x11A3A) return U_GCB_OTHER;    // Zanabazar Square cluster-initial letter ra, which changed
  if (c == 0x16D63 || (c >= 0x16D67 && c <= 0x16D6A)) return U_GCB_V;  // Kirat Rai vowel signs, of Unicode 16
  if (IsIn(kNewMarks, c)) return U_GCB_EXTEND;
  return static_cast<UGraphemeClusterBreak>(u_getIntPropertyValue(c, UCHAR_GRAPHEME_CLUSTER_BREAK));
}

bool IsLinker(CodePoint c) { return std::binary_search(std::begin(kLinkers), std::end(kLinkers), c); }

bool IsConsonant(CodePoint c) { return IsIn(kConsonants, c); }

// What the clusters before a code point leave behind for the rules that look back further than one.
struct Before {
  UGraphemeClusterBreak last;
  bool pictographic = false;  // \p{Extended_Pictographic} Extend*
  bool joined = false;        // the same, then ZWJ
  bool odd_flag = false;      // an odd number of regional indicators
  bool consonant = false;     // an Indic consonant, then linkers and extenders alone
  bool linked = false;        // the same, with a linker
};

bool IsControlBreak(UGraphemeClusterBreak kind) {
  return kind == U_GCB_CR || kind == U_GCB_LF || kind == U_GCB_CONTROL;
}

// Whether `c` of class `kind` begins a new cluster: rules GB3 to GB999.
bool Begins(const Before& before, CodePoint c, UGraphemeClusterBreak kind) {
  const UGraphemeClusterBreak last = before.last;
  if (last == U_GCB_CR) return kind != U_GCB_LF;
  if (IsControlBreak(last) || IsControlBreak(kind)) return true;
  if (kind == U_GCB_EXTEND || kind == U_GCB_ZWJ || kind == U_GCB_SPACING_MARK || last == U_GCB_PREPEND) return false;
  switch (last) {
    case U_GCB_L:
      return kind != U_GCB_L && kind != U_GCB_V && kind != U_GCB_LV && kind != U_GCB_LVT;
    case U_GCB_LV:
    case U_GCB_V:
      return kind != U_GCB_V && kind != U_GCB_T;
    case U_GCB_LVT:
    case U_GCB_T:
      return kind != U_GCB_T;
    case U_GCB_REGIONAL_INDICATOR:
      return kind != U_GCB_REGIONAL_INDICATOR || !before.odd_flag;
    default:
      break;
  }
  if (before.linked && IsConsonant(c)) return false;
  return !(before.joined && u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC));
}

Before After(const Before& before, CodePoint c, UGraphemeClusterBreak kind) {
  Before after{kind};
  const bool extends = kind == U_GCB_EXTEND;
  after.pictographic = (extends && before.pictographic) || u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC);
  after.joined = kind == U_GCB_ZWJ && before.pictographic;
  after.odd_flag = kind == U_GCB_REGIONAL_INDICATOR && !before.odd_flag;
  constexpr CodePoint kZeroWidthNonJoiner = 0x200C;
  const bool between = before.consonant && ((extends && c != kZeroWidthNonJoiner) || kind == U_GCB_ZWJ || IsLinker(c));
  after.consonant = IsConsonant(c) || between;
  after.linked = between && (before.linked || IsLinker(c));
  return after;
}

}  // namespace

size_t ClusterBytes(const char* p, const char* end) {
  const char* stop = p;
  CodePoint c = ReadUtf8(&stop, end);
  Before before = After(Before{U_GCB_OTHER}, c, Break(c));
  while (stop != end) {
    const char* next = stop;
    c = ReadUtf8(&next, end);
    const UGraphemeClusterBreak kind = Break(c);
    if (Begins(before, c, kind)) break;
    before = After(before, c, kind);
    stop = next;
  }
  return static_cast<size_t>(stop - p);
}

}  // namespace tenon::engine
