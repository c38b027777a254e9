#include "dsgd/net/frame.hpp"

#include <algorithm>  // for copy, min, min_element
#include <array>      // for array
#include <cmath>      // for isfinite
#include <limits>     // for numeric_limits
#include <mutex>      // for call_once
#include <utility>    // for exchange, move

#include "dsgd/net/crc32c.hpp"

namespace dsgd::net {
namespace {

constexpr std::uint32_t kMagic = 0x44475344U;  // "DSGD" in memory
constexpr std::uint16_t kChecksumFlag = 1;
constexpr std::size_t kCheckedBytes = kHeaderBytes - sizeof(std::uint32_t);

template <typename T>
void store(Bytes& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <typename T>
T load(ByteSpan bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void write_header(Bytes& frame, const FrameHeader& header) {
  store(frame, 0, kMagic);
  store(frame, 4, kVersion);
  store(frame, 5, static_cast<std::uint8_t>(header.type));
  store(frame, 6, static_cast<std::uint16_t>(header.checksum ? kChecksumFlag : 0));
  store(frame, 8, header.request);
  store(frame, 16, header.piece);
  store(frame, 18, header.pieces);
  store(frame, 20, header.length);
  store(frame, 24, header.payload_crc);
  store(frame, kCheckedBytes, crc32c(ByteSpan(frame).first(kCheckedBytes)));
}

}  // namespace

FrameHeader parse_header(ByteSpan header) {
  if (header.size() < kHeaderBytes) malformed("a frame of " + std::to_string(header.size()) + " bytes has no header");
  if (load<std::uint32_t>(header, 0) != kMagic) malformed("the peer does not speak dsgd's protocol");
  if (load<std::uint32_t>(header, kCheckedBytes) != crc32c(header.first(kCheckedBytes))) {
    malformed("the header of a frame was damaged");
  }
  const auto version = load<std::uint8_t>(header, 4);
  if (version != kVersion) {
    throw VersionError("the peer speaks version " + std::to_string(version) + " of the protocol, this side version " +
                       std::to_string(kVersion) + ": install the same dsgd on both");
  }
  const auto type = load<std::uint8_t>(header, 5);
  if (type == 0 || type > kLastType) malformed("unknown type of message " + std::to_string(type));
  const auto flags = load<std::uint16_t>(header, 6);
  if (flags > kChecksumFlag) malformed("unknown flags " + std::to_string(flags));
  const FrameHeader parsed{static_cast<MessageType>(type),  flags == kChecksumFlag,
                           load<std::uint64_t>(header, 8),  load<std::uint16_t>(header, 16),
                           load<std::uint16_t>(header, 18), load<std::uint32_t>(header, 20),
                           load<std::uint32_t>(header, 24)};
  if (parsed.length > kPieceBytes) malformed("a frame of " + std::to_string(parsed.length) + " bytes is too long");
  if (parsed.piece >= parsed.pieces) malformed("a piece beyond the last one");
  // All pieces but the last are full, and the last is not empty unless it is the only one.
  const bool last = parsed.piece + 1 == parsed.pieces;
  if (last ? parsed.length == 0 && parsed.pieces > 1 : parsed.length != kPieceBytes) {
    malformed("a piece of " + std::to_string(parsed.length) + " bytes");
  }
  if (!parsed.checksum && parsed.payload_crc != 0) malformed("a checksum that is none");
  return parsed;
}

FrameView parse_frame(ByteSpan frame) {
  const FrameHeader header = parse_header(frame);
  const ByteSpan payload = frame.subspan(kHeaderBytes);
  if (payload.size() != header.length) {
    malformed("a payload of " + std::to_string(payload.size()) + " bytes, announced with " +
              std::to_string(header.length));
  }
  if (header.checksum && crc32c(payload) != header.payload_crc) malformed("the payload of a frame was damaged");
  return {header, payload};
}

FrameData::FrameData(const FrameHeader& header, Bytes head, std::vector<Slice> tail)
    : header_(header), head_(std::move(head)), tail_(std::move(tail)), size_(head_.size()) {
  for (const Slice& slice : tail_) size_ += slice.bytes.size();
}

FrameData::FrameData(Bytes bytes) : head_(std::move(bytes)), size_(head_.size()) {}

ByteSpan FrameData::head() const {
  std::call_once(sealed_, [this] { seal(); });
  return head_;
}

void FrameData::seal() const {
  if (!header_) return;
  FrameHeader header = *header_;
  if (header.checksum) {
    header.payload_crc = crc32c(ByteSpan(head_).subspan(kHeaderBytes));
    for (const Slice& slice : tail_) header.payload_crc = crc32c(slice.bytes, header.payload_crc);
  }
  write_header(head_, header);
}

Bytes FrameData::flat() const {
  Bytes all;
  all.reserve(size_);
  const ByteSpan first = head();
  all.insert(all.end(), first.begin(), first.end());
  for (const Slice& slice : tail_) all.insert(all.end(), slice.bytes.begin(), slice.bytes.end());
  return all;
}

MessageWriter::MessageWriter(MessageType type, std::uint64_t request, bool checksum) {
  header_.type = type;
  header_.request = request;
  header_.checksum = checksum;
  pieces_.emplace_back();
}

/// The piece to which the next byte belongs.
MessageWriter::Piece& MessageWriter::open_piece() {
  if (pieces_.back().length == kPieceBytes) pieces_.emplace_back();
  return pieces_.back();
}

void MessageWriter::put_bytes(ByteSpan bytes) {
  while (!bytes.empty()) {
    Piece& piece = open_piece();
    const ByteSpan part = bytes.first(std::min(bytes.size(), kPieceBytes - piece.length));
    if (piece.tail.empty()) {
      piece.head.insert(piece.head.end(), part.begin(), part.end());
    } else {
      auto copy = std::make_shared<const Bytes>(part.begin(), part.end());
      const ByteSpan copied = *copy;
      piece.tail.push_back({std::move(copy), copied});
    }
    piece.length += part.size();
    bytes = bytes.subspan(part.size());
  }
}

void MessageWriter::put_slice(const Slice& slice) {
  constexpr std::size_t kWorthSharing = 4096;
  if (slice.bytes.size() < kWorthSharing) return put_bytes(slice.bytes);
  for (ByteSpan bytes = slice.bytes; !bytes.empty();) {
    Piece& piece = open_piece();
    const ByteSpan part = bytes.first(std::min(bytes.size(), kPieceBytes - piece.length));
    piece.tail.push_back({slice.owner, part});
    piece.length += part.size();
    bytes = bytes.subspan(part.size());
  }
}

void MessageWriter::pad(std::size_t alignment) {
  constexpr std::array<std::byte, 16> kZeros{};
  const std::size_t beyond = pieces_.back().length % alignment;  // a full piece is a multiple
  if (beyond > 0) put_bytes(ByteSpan(kZeros).first(alignment - beyond));
}

void MessageWriter::put_text(std::string_view text) {
  if (text.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw Error(ErrorCode::config, "a text of " + std::to_string(text.size()) + " bytes is too long to be sent");
  }
  put(static_cast<std::uint16_t>(text.size()));
  put_bytes(std::as_bytes(std::span(text)));
}

void MessageWriter::put_blob(ByteSpan bytes) {
  put(static_cast<std::uint64_t>(bytes.size()));
  put_bytes(bytes);
}

std::vector<Frame> MessageWriter::finish() {
  if (pieces_.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw Error(ErrorCode::config, "a message of more than 64 GB cannot be sent");
  }
  std::vector<Frame> frames;
  frames.reserve(pieces_.size());
  header_.pieces = static_cast<std::uint16_t>(pieces_.size());
  for (Piece& piece : pieces_) {
    header_.piece = static_cast<std::uint16_t>(frames.size());
    header_.length = static_cast<std::uint32_t>(piece.length);
    frames.push_back(std::make_shared<const FrameData>(header_, std::move(piece.head), std::move(piece.tail)));
  }
  pieces_.clear();
  return frames;
}

bool MessageReader::take_flag() {
  const auto flag = take<std::uint8_t>();
  if (flag > 1) malformed("a flag of " + std::to_string(flag));
  return flag == 1;
}

double MessageReader::take_finite(const char* name) {
  const auto value = take<double>();
  if (!std::isfinite(value)) malformed(std::string("a ") + name + " that is not finite");
  return value;
}

ByteSpan MessageReader::take_bytes(std::size_t count) {
  if (count > left_.size()) {
    malformed("a message ends " + std::to_string(count - left_.size()) + " bytes too early");
  }
  const ByteSpan taken = left_.first(count);
  left_ = left_.subspan(count);
  return taken;
}

void MessageReader::skip_padding(std::size_t alignment) {
  const std::size_t beyond = (body_.bytes.size() - left_.size()) % alignment;
  if (beyond == 0) return;
  for (const std::byte zero : take_bytes(alignment - beyond)) {
    if (zero != std::byte{0}) malformed("padding that is not zero");
  }
}

std::string MessageReader::take_text() {
  const ByteSpan text = take_bytes(take<std::uint16_t>());
  std::string result(text.size(), '\0');
  std::memcpy(result.data(), text.data(), text.size());
  return result;
}

ByteSpan MessageReader::take_blob() {
  const auto size = take<std::uint64_t>();
  if (size > left_.size()) malformed("a field of " + std::to_string(size) + " bytes is longer than its message");
  return take_bytes(static_cast<std::size_t>(size));
}

void MessageReader::expect_end() const {
  if (!left_.empty()) malformed(std::to_string(left_.size()) + " bytes follow the end of a message");
}

std::optional<Message> Assembler::add(ByteSpan frame) {
  const auto [header, payload] = parse_frame(frame);
  if (header.pieces == 1) return Message{header.type, header.request, {nullptr, payload}};
  std::ranges::copy(payload, room(header).begin());
  return joined(header);
}

std::span<std::byte> Assembler::room(const FrameHeader& header) {
  if (header.pieces == 1) {
    single_ = Block(header.length);
    return single_.bytes();
  }
  const std::size_t size = static_cast<std::size_t>(header.pieces) * kPieceBytes;
  if (size > limit_) {
    malformed("a message of up to " + std::to_string(size) + " bytes; at most " + std::to_string(limit_) +
              " are taken");
  }
  const Key key{static_cast<std::uint8_t>(header.type), header.request};
  if (!partial_.contains(key)) {
    make_room(size);
    partial_.emplace(key, Partial{Block(size), next_age_++, {}, 0});
    waiting_bytes_ += size;
  }
  const Partial& partial = partial_.at(key);
  if (partial.block.size() != size) malformed("pieces of one message disagree about their number");
  return partial.block.bytes().subspan(header.piece * kPieceBytes, header.length);
}

std::optional<Message> Assembler::filled(const FrameHeader& header, std::uint32_t payload_crc) {
  if (header.checksum && payload_crc != header.payload_crc) malformed("the payload of a frame was damaged");
  if (header.pieces > 1) return joined(header);
  const Block block = std::exchange(single_, {});
  return Message{header.type, header.request, {block.owner(), block.bytes()}};
}

std::optional<Message> Assembler::joined(const FrameHeader& header) {
  const auto at = partial_.find({static_cast<std::uint8_t>(header.type), header.request});
  Partial& partial = at->second;
  partial.arrived.insert(header.piece);
  if (header.piece + 1 == header.pieces) partial.last_length = header.length;
  if (partial.arrived.size() < header.pieces) return std::nullopt;
  const Block block = std::move(partial.block);
  const std::size_t length = (header.pieces - std::size_t{1}) * kPieceBytes + partial.last_length;
  waiting_bytes_ -= block.size();
  partial_.erase(at);
  return Message{header.type, header.request, {block.owner(), block.bytes().first(length)}};
}

void Assembler::make_room(std::size_t bytes) {
  while (waiting_bytes_ + bytes > limit_) {
    // Drops the oldest incomplete message. Its other pieces were probably lost, and the peer sends
    // it again if it is needed.
    const auto age = [](const auto& entry) { return entry.second.age; };
    const auto oldest = std::ranges::min_element(partial_, {}, age);
    waiting_bytes_ -= oldest->second.block.size();
    partial_.erase(oldest);
  }
}

}  // namespace dsgd::net
