"""Messages are text. Structured data travels as JSON, and so do errors that are part of the answer."""

import json

from autonomy import Context, Node


class Calculator:
    async def handle_message(self, context: Context, message: str) -> None:
        request = json.loads(message)
        match request["operation"]:
            case "add":
                answer = {"result": request["x"] + request["y"]}
            case "multiply":
                answer = {"result": request["x"] * request["y"]}
            case unknown:
                answer = {"error": f"unknown operation {unknown!r}"}
        await context.reply(json.dumps(answer))


async def main(node: Node) -> None:
    await node.start_worker("calculator", Calculator())

    for operation in ("add", "multiply", "guess"):
        request = json.dumps({"operation": operation, "x": 6, "y": 7})
        answer = json.loads(await node.send_and_receive("calculator", request, timeout=10))
        print(operation, answer)

    try:
        await node.send_message("calculator", {"x": 6})  # type: ignore[arg-type]  # the mistake is the point
    except TypeError as error:
        print(error)


Node.start(main)

# prints:
#   add {'result': 13}
#   multiply {'result': 42}
#   guess {'error': "unknown operation 'guess'"}
#   message must be a str, got dict: {'x': 6}. Encode structured data first, for instance with json.dumps.
