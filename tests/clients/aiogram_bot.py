"""An aiogram bot against the Bot API simulator: long polling, typing, formatted answers, edits, commands, files in and out, buttons, errors.

aiogram checks every object it receives against its own models, so that this also shows that our objects are whole.
"""

import asyncio
import hashlib
import struct
import sys

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ChatAction, ParseMode
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError, TelegramMigrateToChat, TelegramRetryAfter
from aiogram.filters import CommandStart
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
    ReactionTypeEmoji,
    ReplyParameters,
)

from control import control as control_of

ROOT = sys.argv[1]
TOKEN = "8400000002:AAH-simulated-token_for_aiogram"
BOT = 8400000002
# The beginning of a PNG file of 64 by 32 pixels.
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", 64, 32) + b"\x08\x02\0\0\0\0\0\0\0"


def control(method: str, path: str, body=None):
    return control_of(ROOT, method, path, body)


async def ask(text=None, **more):
    """Speaks as user 42 and waits for the bot's next message in the private chat."""
    before = await asyncio.to_thread(control, "GET", f"/bots/{BOT}/sent?chat=42")
    last = before[-1]["message_id"] if before else 0
    await asyncio.to_thread(control, "POST", "/say", {"bot": BOT, "from": 42, "text": text, **more})
    sent = await asyncio.to_thread(control, "GET", f"/bots/{BOT}/sent?chat=42&after={last}&wait_ms=20000")
    assert sent, f"no answer to {text or more}"
    return sent[-1]


def dispatcher() -> Dispatcher:
    dp = Dispatcher()

    @dp.message(CommandStart())
    async def start(message: Message):
        await message.answer(f"Hello, <b>{message.from_user.first_name}</b>!", parse_mode=ParseMode.HTML)

    @dp.message(F.voice)
    async def voice(message: Message, bot: Bot):
        file = await bot.download(message.voice.file_id)
        await message.answer(f"heard {file.read().decode()}")

    @dp.message(F.text == "edit me")
    async def edit(message: Message):
        sent = await message.answer("first")
        await sent.edit_text("second")

    @dp.message(F.text == "choose")
    async def choose(message: Message):
        buttons = [InlineKeyboardButton(text=text, callback_data=text.lower()) for text in ["Yes", "No"]]
        await message.answer("sure?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))

    @dp.callback_query(F.data.in_({"yes", "no"}))
    async def chosen(query: CallbackQuery):
        await query.answer(f"you chose {query.data}")
        await query.message.edit_reply_markup()
        await query.message.edit_text(f"sure? {query.data}")

    @dp.message(F.text == "picture")
    async def picture(message: Message):
        await message.react([ReactionTypeEmoji(emoji="👀")])
        await message.answer_photo(BufferedInputFile(PICTURE, "chart.png"), caption="a chart")

    @dp.message(F.text == "album")
    async def album(message: Message):
        photos = [InputMediaPhoto(media=BufferedInputFile(PICTURE, f"{n}.png")) for n in range(3)]
        sent = await message.answer_media_group(photos)
        assert len(sent) == 3, sent

    @dp.message(F.text)
    async def echo(message: Message, bot: Bot):
        await bot.send_chat_action(message.chat.id, ChatAction.TYPING)
        await bot.send_message(
            message.chat.id,
            message.text,
            message_thread_id=message.message_thread_id,
            reply_parameters=ReplyParameters(message_id=message.message_id),
        )

    @dp.message(F.chat.type == "private")
    async def anything(message: Message):
        await message.answer(f"a {message.content_type.value}")

    return dp


async def buttons_and_files():
    """A tap on a button, answered; a picture and an album, uploaded."""
    asked = await ask("choose")
    tap = {"from": 42, "message_id": asked["message_id"], "text": "Yes"}
    await asyncio.to_thread(control, "POST", "/tap", {"bot": BOT, **tap})
    taps = await asyncio.to_thread(control, "GET", f"/bots/{BOT}/callbacks?wait_ms=20000")
    assert taps[0]["answer"]["text"] == "you chose yes", taps
    for _ in range(100):
        last = control("GET", f"/bots/{BOT}/sent?chat=42")[-1]
        if last["text"] == "sure? yes":
            break
        await asyncio.sleep(0.05)
    assert (last["text"], "reply_markup" in last) == ("sure? yes", False), last
    sent = await ask("picture")
    expected = ("photo", "chart.png", "image/png", hashlib.sha256(PICTURE).hexdigest())
    media = sent["media"]
    assert tuple(media[field] for field in ["kind", "file_name", "sniffed_type", "sha256"]) == expected, sent
    assert sent["caption"] == "a chart", sent
    album = await ask("album")
    assert album["media"]["media_group_id"], album


async def refused(call, kind):
    try:
        await call
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected")


async def main():
    control("POST", "/bots", {"token": TOKEN, "username": "aiogram_example_bot", "name": "Aiogram"})
    control("POST", "/users", {"id": 42, "first_name": "Ann", "language_code": "it"})
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(ROOT)))
    me = await bot.me()
    assert (me.id, me.username) == (BOT, "aiogram_example_bot"), me
    await bot.set_my_commands([BotCommand(command="new", description="Begin anew")])
    assert [c.command for c in await bot.get_my_commands()] == ["new"]
    dp = dispatcher()
    polling = asyncio.create_task(dp.start_polling(bot, handle_signals=False))
    try:
        assert (await ask("/start"))["text"] == "Hello, Ann!"
        echoed = await ask("1 < 2 & so on")
        assert (echoed["text"], bool(echoed["reply_to"])) == ("1 < 2 & so on", True), echoed
        assert (await ask(content={"voice": {"data": "sound"}}))["text"] == "heard sound"
        for kind in ["photo", "sticker", "document", "video", "audio", "contact", "location"]:
            value = {"phone_number": "1", "first_name": "B"} if kind == "contact" else {}
            value = {"latitude": 1.0, "longitude": 2.0} if kind == "location" else value
            assert (await ask(content={kind: value}))["text"] == f"a {kind}", kind
        await ask("edit me")
        for _ in range(100):
            last = control("GET", f"/bots/{BOT}/sent?chat=42")[-1]
            if last["edits"] == ["second"]:
                break
            await asyncio.sleep(0.05)
        assert last["text"] == "second", last

        await buttons_and_files()
        forum = control("POST", "/groups", {"type": "forum", "title": "F", "bots": [BOT]})["id"]
        topic = control("POST", f"/groups/{forum}/topics", {"name": "T"})["message_thread_id"]
        question = {"from": 42, "chat": forum, "thread": topic, "text": "@aiogram_example_bot hi"}
        control("POST", "/say", question)
        sent = await asyncio.to_thread(control, "GET", f"/bots/{BOT}/sent?chat={forum}&wait_ms=20000")
        assert sent[0]["thread_id"] == topic, sent

        await refused(bot.send_message(99, "x"), TelegramBadRequest)
        error = await refused(bot.send_message(42, "<x>", parse_mode="HTML"), TelegramBadRequest)
        assert "can't parse entities" in str(error)
        control("POST", "/block", {"bot": BOT, "user": 42})
        await refused(bot.send_message(42, "x"), TelegramForbiddenError)
        group = control("POST", "/groups", {"type": "group", "title": "G", "bots": [BOT]})["id"]
        supergroup = control("POST", f"/groups/{group}/migrate")["id"]
        error = await refused(bot.send_message(group, "x"), TelegramMigrateToChat)
        assert error.migrate_to_chat_id == supergroup
        throttle = {"too_many_requests": {"retry_after": 7}}
        control("POST", "/faults", {"bot": BOT, "method": "getChat", "fault": throttle, "times": 1})
        error = await refused(bot.get_chat(supergroup), TelegramRetryAfter)
        assert error.retry_after == 7
        assert (await bot.get_chat(supergroup)).title == "G"
        counters = control("GET", f"/bots/{BOT}")["counters"]
        assert counters["conflicts"] == 0 and counters["concurrent_polls"] == 0, counters
    finally:
        await dp.stop_polling()
        await polling
        await bot.session.close()
    print(f"aiogram polled {counters['polls']} times and sent {counters['sent']} messages: everything came out as it must")


asyncio.run(main())
