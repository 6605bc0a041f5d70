"""A client that has no generated code: it asks the server what it serves, and makes the messages from the answer."""

from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class ReflectionClient:
    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def services(self):
        return list(self.database.get_services())

    def methods(self, service):
        return [method.name for method in self.pool.FindServiceByName(service).methods]

    def _method(self, path):
        service, name = path.split("/")
        method = self.pool.FindServiceByName(service).FindMethodByName(name)
        request, response = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        call = getattr(self.channel, kind)(f"/{path}", request_serializer=request.SerializeToString, response_deserializer=response.FromString)
        return method, request, call

    @staticmethod
    def _fill(request, fields):
        """A message from plain values; bytes stay bytes, everything else is protobuf's JSON mapping."""
        plain = {key: value for key, value in fields.items() if not isinstance(value, bytes)}
        message = json_format.ParseDict(plain, request())
        for key, value in fields.items():
            if isinstance(value, bytes):
                setattr(message, key, value)
        return message

    def _start(self, path, parts, timeout):
        method, request, call = self._method(path)
        messages = [self._fill(request, part) for part in parts]
        return method, call(iter(messages) if method.client_streaming else messages[0], timeout=timeout)

    def call(self, path, *parts, timeout=120):
        """The reply of a method that answers once."""
        return self._start(path, parts, timeout)[1]

    def stream(self, path, *parts, timeout=600):
        """The replies of a method that answers many times."""
        return self._start(path, parts, timeout)[1]

    def first(self, path, *parts, timeout=60):
        """The first reply, however many there are; None when there is none."""
        method, reply = self._start(path, parts, timeout)
        return next(iter(reply), None) if method.server_streaming else reply

    def get(self, path, fields, name):
        """One field of a reply; an enum by its name."""
        return json_format.MessageToDict(self.call(path, fields), preserving_proto_field_name=True).get(name)
