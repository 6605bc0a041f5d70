#include "client/generate.h"

namespace tenon::client {

absl::StatusOr<v1::StreamGenerateResponse> StreamGenerate(
    Client& client, const v1::StreamGenerateRequest& request,
    const std::function<void(const v1::StreamGenerateResponse&)>& on_message) {
  Client::Context context(client, client.options().timeout);
  const auto stream = client.inference().StreamGenerate(context.get(), request);
  v1::StreamGenerateResponse message;
  while (stream->Read(&message)) on_message(message);
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return client.Decode(status);
  if (!message.has_generation()) return absl::DataLossError("The stream ended before the text did.");
  return message;
}

}  // namespace tenon::client
