"""A python-telegram-bot bot against the Bot API simulator: long polling, buttons, taps, edits, uploads, refusals.

Warnings are errors, and an answer with a field that the library does not know is one as well.
"""

import asyncio
import hashlib
import os
import struct
import sys
import warnings

# Durations as the library's next version gives them; without it, a deprecation warning ends the test.
os.environ["PTB_TIMEDELTA"] = "true"

from control import control
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputMediaDocument, ReplyKeyboardMarkup, TelegramObject, Update
from telegram.error import BadRequest, RetryAfter
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, MessageHandler, filters

warnings.simplefilter("error")

ROOT = sys.argv[1]
TOKEN = "8400000003:AAH-simulated-token_for_ptb"
BOT = 8400000003
# The beginning of a PNG file of 64 by 32 pixels.
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", 64, 32) + b"\x08\x02\0\0\0\0\0\0\0"
KEYBOARD = InlineKeyboardMarkup(
    [
        [InlineKeyboardButton("Yes", callback_data="yes"), InlineKeyboardButton("No", callback_data="no")],
        [InlineKeyboardButton("Docs", url="https://example.com/docs")],
    ]
)
errors = []


def unknown_fields(value, path="update"):
    """Fields that the library has put aside because its objects do not know them."""
    if isinstance(value, (list, tuple)):
        return [found for n, item in enumerate(value) for found in unknown_fields(item, f"{path}[{n}]")]
    if not isinstance(value, TelegramObject):
        return []
    found = [f"{path}.{name}" for name in value.api_kwargs if name != "all_members_are_administrators"]
    for name in value._get_attrs_names(include_private=False):
        found += unknown_fields(getattr(value, name, None), f"{path}.{name}")
    return found


async def start(update: Update, context):
    keyboard = ReplyKeyboardMarkup([["Yes", "No"]], one_time_keyboard=True)
    await update.message.reply_text(f"Hello, <b>{update.effective_user.first_name}</b>!", parse_mode="HTML", reply_markup=keyboard)


async def choose(update: Update, context):
    sent = await update.message.reply_text("sure?", reply_markup=KEYBOARD)
    assert not unknown_fields(sent), unknown_fields(sent)
    assert sent.reply_markup.inline_keyboard[0][1].callback_data == "no", sent.reply_markup


async def tapped(update: Update, context):
    query = update.callback_query
    found = unknown_fields(update)
    assert not found, found
    await query.answer(f"you chose {query.data}", show_alert=True)
    try:
        await query.answer("again")
    except BadRequest as error:
        assert "query is too old" in str(error).lower(), error
    else:
        raise AssertionError("a query was answered twice")
    edited = await query.edit_message_text(f"sure? {query.data}")
    assert edited.reply_markup is None, edited


async def upload(update: Update, context):
    sent = await update.message.reply_photo(PICTURE, caption="*a chart*", parse_mode="MarkdownV2", filename="chart.png", reply_markup=KEYBOARD)
    assert not unknown_fields(sent), unknown_fields(sent)
    assert (sent.photo[-1].width, sent.photo[-1].height) == (64, 32), sent.photo
    edited = await sent.edit_caption("the chart")
    assert (edited.caption, edited.reply_markup) == ("the chart", None), edited
    again = await context.bot.send_photo(update.effective_chat.id, sent.photo[-1].file_id)
    assert again.photo[-1].file_unique_id == sent.photo[-1].file_unique_id, again
    file = await again.photo[-1].get_file()
    assert bytes(await file.download_as_bytearray()) == PICTURE
    documents = [InputMediaDocument(b"%PDF-1.7 ", filename="a.pdf"), InputMediaDocument(b"words", filename="a.txt", caption="last")]
    album = await update.message.reply_media_group(documents)
    assert album[0].media_group_id == album[1].media_group_id, album
    await update.message.reply_voice(b"OggS" + bytes(24) + b"OpusHead", duration=2)
    await update.message.set_reaction("👍")
    await update.message.reply_text("all sent")


async def refusals(update: Update, context):
    try:
        await update.message.reply_text("x", reply_markup=InlineKeyboardMarkup.from_button(InlineKeyboardButton("x", callback_data="x" * 65)))
    except BadRequest as error:
        assert "button_data_invalid" in str(error).lower(), error
    else:
        raise AssertionError("65 bytes of callback_data were accepted")
    try:
        await update.message.reply_photo(b"no picture")
    except BadRequest as error:
        assert "image_process_failed" in str(error).lower(), error
    else:
        raise AssertionError("text was accepted as a picture")
    await asyncio.to_thread(control, ROOT, "POST", "/faults", {"bot": BOT, "method": "sendPhoto", "fault": {"too_many_requests": {"retry_after": 7}}, "times": 1})
    try:
        await update.message.reply_photo(PICTURE)
    except RetryAfter as error:
        assert error.retry_after.total_seconds() == 7, error
    else:
        raise AssertionError("429 expected")
    await update.message.reply_text("all refused")


async def failed(update, context):
    errors.append(repr(context.error))


async def say(text, until):
    """Speaks as user 42 and waits for a message that begins with `until`."""
    await asyncio.to_thread(control, ROOT, "POST", "/say", {"bot": BOT, "from": 42, "text": text})
    return await shown(until)


async def shown(begins):
    for _ in range(400):
        sent = await asyncio.to_thread(control, ROOT, "GET", f"/bots/{BOT}/sent?chat=42")
        found = [message for message in sent if message["text"].startswith(begins)]
        if found or errors:
            break
        await asyncio.sleep(0.05)
    assert not errors, errors
    assert found, f"nothing begins with {begins!r}"
    return found[-1]


async def converse():
    hello = await say("/start", "Hello, Ann!")
    assert hello["reply_markup"]["one_time_keyboard"] is True, hello
    asked = await say("/choose", "sure?")
    tap = {"bot": BOT, "from": 42, "message_id": asked["message_id"], "row": 0, "column": 1}
    await asyncio.to_thread(control, ROOT, "POST", "/tap", tap)
    chosen = await shown("sure? no")
    assert "reply_markup" not in chosen, chosen
    taps = await asyncio.to_thread(control, ROOT, "GET", f"/bots/{BOT}/callbacks")
    assert (taps[0]["answer"]["text"], taps[0]["answer"]["show_alert"]) == ("you chose no", True), taps
    await say("/upload", "all sent")
    sent = await asyncio.to_thread(control, ROOT, "GET", f"/bots/{BOT}/sent?chat=42")
    media = [message["media"] for message in sent if "media" in message]
    assert [file["kind"] for file in media] == ["photo", "photo", "document", "document", "voice"], media
    assert media[0]["sha256"] == media[1]["sha256"] == hashlib.sha256(PICTURE).hexdigest(), media
    assert media[3]["sniffed_type"] == "text/plain", media
    await say("/refusals", "all refused")
    calls = await asyncio.to_thread(control, ROOT, "GET", f"/bots/{BOT}/calls")
    unknown = [(call["method"], call["unknown_params"]) for call in calls if "unknown_params" in call]
    assert not unknown, unknown


async def main():
    control(ROOT, "POST", "/bots", {"token": TOKEN, "username": "ptb_example_bot", "name": "PTB"})
    control(ROOT, "POST", "/users", {"id": 42, "first_name": "Ann", "language_code": "it"})
    application = Application.builder().token(TOKEN).base_url(f"{ROOT}/bot").base_file_url(f"{ROOT}/file/bot").build()
    for name, handler in [("start", start), ("choose", choose), ("upload", upload), ("refusals", refusals)]:
        application.add_handler(CommandHandler(name, handler))
    application.add_handler(CallbackQueryHandler(tapped))
    application.add_handler(MessageHandler(filters.ALL, start))
    application.add_error_handler(failed)
    async with application:
        await application.start()
        await application.updater.start_polling(allowed_updates=Update.ALL_TYPES)
        try:
            await converse()
        finally:
            await application.updater.stop()
            await application.stop()
    counters = control(ROOT, "GET", f"/bots/{BOT}")["counters"]
    assert counters["conflicts"] == 0 and counters["concurrent_polls"] == 0, counters
    print(f"python-telegram-bot polled {counters['polls']} times and sent {counters['sent']} messages: everything came out as it must")


asyncio.run(main())
