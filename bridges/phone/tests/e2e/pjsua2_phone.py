"""A phone on pjsip (Python package pjsua2-python). Orders come by stdin, a line each; what happens is told by stdout, a line each.

Arguments: gateway as host:port, own port, user, password, codec it likes best, file to play, file to record. Calls are numbered from 0 in their order.

Orders: dial NUMBER | ring N CODE | answer N | hold N | resume N | keys N KEYS | info N KEYS | xfer N URI | attended N OTHER |
rtcp N | hangup N | text NUMBER WORDS | calltext N WORDS | quit. "attended" sends REFER in call N with Replaces of call OTHER.
"""

import os
import select
import sys
import time
import wave

import pjsua2 as pj

gateway, port, user, password, codec, tone, record = sys.argv[1:8]
calls, buddies = [], []


def tell(*words):
    print(*words, flush=True)


class Call(pj.Call):
    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.n = len(calls)
        calls.append(self)

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            tell("ended", self.n, info.lastStatusCode, info.lastReason)
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            tell("up", self.n)

    def onCallTransferStatus(self, prm):
        tell("transfer", self.n, prm.statusCode, prm.finalNotify)

    def onInstantMessage(self, prm):
        tell("text", prm.contentType, prm.msgBody)

    def onInstantMessageStatus(self, prm):
        tell("texted", prm.code, prm.msgBody)

    def onDtmfDigit(self, prm):
        tell("key", self.n, prm.digit, "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "event")

    def onCallMediaState(self, prm):
        info = self.getInfo()
        for i, m in enumerate(info.media):
            if m.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if m.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                media = self.getAudioMedia(i)
                player.startTransmit(media)
                media.startTransmit(recorder)
                tell("sound", self.n, "early" if info.state < pj.PJSIP_INV_STATE_CONNECTING else "talking")
            elif m.status == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD:
                tell("sound", self.n, "held")
            elif m.status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD:
                tell("sound", self.n, "held by the other")


class Account(pj.Account):
    def onRegState(self, prm):
        tell("registered", prm.code)

    def onInstantMessage(self, prm):
        tell("text", prm.fromUri, prm.contentType, prm.msgBody)

    def onInstantMessageStatus(self, prm):
        tell("texted", prm.code, prm.msgBody)

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        tell("incoming", call.n, call.getInfo().remoteUri)


ep = pj.Endpoint()
ep.libCreate()
config = pj.EpConfig()
config.logConfig.level = 0
config.logConfig.consoleLevel = 0
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.medConfig.clockRate = 8000
config.medConfig.noVad = True
ep.libInit(config)
transport = pj.TransportConfig()
transport.port = int(port)
transport.boundAddress = "127.0.0.1"
ep.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
ep.libStart()
ep.codecSetPriority(codec, 255)
# No sound card: the clock is pjsip's own, so silence is recorded as silence.
ep.audDevManager().setNullDev()

player = pj.AudioMediaPlayer()
player.createPlayer(tone)
recorder = pj.AudioMediaRecorder()
recorder.createRecorder(record)
# The recorder writes only while somebody sends to it: this keeps the recording's time going while on hold.
with wave.open(record + ".silence", "wb") as file:
    file.setparams((1, 2, 8000, 8000, "NONE", ""))
    file.writeframes(bytes(16000))
silence = pj.AudioMediaPlayer()
silence.createPlayer(record + ".silence")
silence.startTransmit(recorder)

ac = pj.AccountConfig()
ac.idUri = f"sip:{user}@{gateway}"
ac.regConfig.registrarUri = f"sip:{gateway}"
ac.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
ac.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
ac.callConfig.timerSessExpiresSec = 90
ac.callConfig.timerMinSESec = 90
ac.mediaConfig.transportConfig.port = int(port) + 4
ac.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
account = Account()
account.create(ac)


def order(words):
    what = words[0]
    if what == "dial":
        Call(account).makeCall(f"sip:{words[1]}@{gateway}", pj.CallOpParam(True))
        return
    if what == "text":
        buddy, config, text = pj.Buddy(), pj.BuddyConfig(), pj.SendInstantMessageParam()
        config.uri = f"sip:{words[1]}@{gateway}"
        text.content = " ".join(words[2:])
        buddy.create(account, config)
        buddy.sendInstantMessage(text)
        buddies.append(buddy)
        return
    call, prm = calls[int(words[1])], pj.CallOpParam()
    if what == "calltext":
        text = pj.SendInstantMessageParam()
        text.content = " ".join(words[2:])
        call.sendInstantMessage(text)
        return
    if what in ("ring", "answer"):
        prm.statusCode = int(words[2]) if what == "ring" else 200
        call.answer(prm)
    elif what == "hold":
        call.setHold(prm)
    elif what == "resume":
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(prm)
    elif what == "keys":
        call.dialDtmf(words[2])
    elif what == "info":
        keys = pj.CallSendDtmfParam()
        keys.method, keys.duration, keys.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, 160, words[2]
        call.sendDtmf(keys)
    elif what == "xfer":
        call.xfer(words[2], prm)
    elif what == "attended":
        call.xferReplaces(calls[int(words[2])], prm)
    elif what == "rtcp":
        rtcp = call.getStreamStat(0).rtcp
        tell("rtcp", call.n, "reports", rtcp.txStat.updateCount, "lost", rtcp.rxStat.loss)
    elif what == "hangup":
        call.hangup(prm)
    else:
        raise ValueError(what)


buffer, going = b"", True
while going:
    ep.libHandleEvents(10)
    if not select.select([0], [], [], 0)[0]:
        continue
    got = os.read(0, 4096)
    # Whoever gave the orders is gone.
    going = bool(got)
    *lines, buffer = (buffer + got).split(b"\n")
    for words in (line.decode().split() for line in lines):
        if words == ["quit"]:
            going = False
            break
        try:
            order(words)
        except pj.Error as error:
            tell("error", " ".join(words), error.info())
ep.hangupAllCalls()
account.setRegistration(False)
end = time.time() + 0.3
while time.time() < end:
    ep.libHandleEvents(10)
# Objects of the library end before the library does.
calls.clear()
buddies.clear()
del silence, recorder, player
ep.libDestroy()
