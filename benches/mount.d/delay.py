"""A proxy on this machine, `delay.py PORT SECONDS`: what a client says comes to the server so much later.

Prints its own port. Not the answers are kept, but the requests, so that a connection moves bytes as fast as ever.
"""

import asyncio
import sys

BLOCK = 256 << 10


async def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])

    async def serve(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, far_writer, seconds), pass_on(far_reader, writer, 0))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=BLOCK)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def pass_on(reader, writer, seconds):
    """Each block leaves so long after it came: blocks behind each other wait beside each other."""
    blocks = asyncio.Queue(maxsize=64)
    clock = asyncio.get_running_loop().time

    async def take():
        try:
            while block := await reader.read(BLOCK):
                await blocks.put((clock() + seconds, block))
        except OSError:
            pass
        await blocks.put((0, b""))

    taking = asyncio.create_task(take())
    try:
        while (entry := await blocks.get())[1]:
            await asyncio.sleep(max(0, entry[0] - clock()))
            writer.write(entry[1])
            await writer.drain()
    except OSError:
        pass
    finally:
        taking.cancel()
        writer.close()


if __name__ == "__main__":
    asyncio.run(main())
