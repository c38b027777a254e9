#include "dsgd/net/frame.hpp"

#include <algorithm>  // for min, min_element
#include <cmath>      // for isfinite
#include <limits>     // for numeric_limits

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

MessageWriter::MessageWriter(MessageType type, std::uint64_t request, bool checksum) {
  header_.type = type;
  header_.request = request;
  header_.checksum = checksum;
  pieces_.emplace_back(kHeaderBytes);
}

void MessageWriter::put_bytes(ByteSpan bytes) {
  while (!bytes.empty()) {
    if (pieces_.back().size() == kHeaderBytes + kPieceBytes) pieces_.emplace_back(kHeaderBytes);
    Bytes& piece = pieces_.back();
    const std::size_t count = std::min(bytes.size(), kHeaderBytes + kPieceBytes - piece.size());
    const ByteSpan part = bytes.first(count);
    piece.insert(piece.end(), part.begin(), part.end());
    bytes = bytes.subspan(count);
  }
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
    throw Error(ErrorCode::config, "a message of more than 256 GB cannot be sent");
  }
  std::vector<Frame> frames;
  frames.reserve(pieces_.size());
  header_.pieces = static_cast<std::uint16_t>(pieces_.size());
  for (Bytes& piece : pieces_) {
    header_.piece = static_cast<std::uint16_t>(frames.size());
    header_.length = static_cast<std::uint32_t>(piece.size() - kHeaderBytes);
    header_.payload_crc = header_.checksum ? crc32c(ByteSpan(piece).subspan(kHeaderBytes)) : 0;
    write_header(piece, header_);
    frames.push_back(std::make_shared<const Bytes>(std::move(piece)));
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
  if (header.pieces == 1) return Message{header.type, header.request, payload, {}};
  if (static_cast<std::size_t>(header.pieces) * kPieceBytes > limit_) {
    malformed("a message of up to " + std::to_string(header.pieces * kPieceBytes) + " bytes; at most " +
              std::to_string(limit_) + " are taken");
  }
  const Key key{static_cast<std::uint8_t>(header.type), header.request};
  make_room(payload.size(), key);
  Partial& partial = partial_.try_emplace(key, Partial{header.pieces, next_age_++, {}}).first->second;
  if (partial.pieces != header.pieces) malformed("pieces of one message disagree about their number");
  if (partial.arrived.try_emplace(header.piece, payload.begin(), payload.end()).second) {
    waiting_bytes_ += payload.size();
  }
  if (partial.arrived.size() < header.pieces) return std::nullopt;

  Message message{header.type, header.request, {}, {}};
  std::size_t total = 0;
  for (const auto& [_, piece] : partial.arrived) total += piece.size();
  message.joined.reserve(total);
  for (auto& [_, piece] : partial.arrived) {
    message.joined.insert(message.joined.end(), piece.begin(), piece.end());
    Bytes().swap(piece);  // so that a message is not held twice
  }
  message.body = message.joined;
  waiting_bytes_ -= total;
  partial_.erase(key);
  return message;
}

void Assembler::make_room(std::size_t bytes, const Key& keep) {
  while (waiting_bytes_ + bytes > limit_) {
    // Messages whose other pieces were lost; what is still wanted is sent again.
    auto oldest = partial_.end();
    for (auto it = partial_.begin(); it != partial_.end(); ++it) {
      if (it->first != keep && (oldest == partial_.end() || it->second.age < oldest->second.age)) oldest = it;
    }
    if (oldest == partial_.end()) return;  // the message alone is within the limit, as add() has checked
    for (const auto& [_, piece] : oldest->second.arrived) waiting_bytes_ -= piece.size();
    partial_.erase(oldest);
  }
}

}  // namespace dsgd::net
