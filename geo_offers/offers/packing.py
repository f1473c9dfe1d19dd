"""What a decision leaves behind, small: JSON packed against words that nearly every receipt and snapshot has.

The first byte names the form: `{` is JSON as it is, 1 is raw deflate against `WORDS`, 0x28, with which each frame of
zstd begins, is zstd against `TABLES` and `WORDS`. What was written is read again by the same words and tables, so they
never change: other ones are another form, beside these. Only the last form is written.
"""

import sys
import zlib
from base64 import b64decode
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PLAIN: Final = b"{"
_DEFLATED: Final = b"\x01"
_FRAMED: Final = b"\x28"
_WINDOW_BITS: Final = 14

# How often which byte, length and distance comes, so that no row need say it; made by zstd of receipts and snapshots.
TABLES: Final = b64decode(
    "N6Qw7K2EdxUuENCTDAf//////wNqoc3+RtZ9arblblZKKaU29XGKFZygeCKTTDKllCix2PuvJuMCEAAAhQaiocjM1hsABADBF5aK"
    "jwyIjAtK5KEwLBaDwWIxEIQBGICBGIDhOA5HIZDoAJcFAABkMQ3iMADGGAACGAqjAAMAAGQAAAAAAQAAAAQAAAAIAAAA"
)

# What is rare first, what stands in every row last: near words are the cheaper ones.
WORDS: Final = (
    b'"kind":"text","value":null,"source":"profile","attribute":"","currency":"EUR","style":"medium","fallback":[]'
    b'"clauses":[{"part":"rule","of":"","rule":{"all":[{"attribute":"stage","in":["lead","customer"]}]}}]'
    b'"plural":{"by":"","forms":[{"category":"one"}]},"image":"https://","link":"https://www.'
    b'"opening":{"open":true,"until_us":17},"events":{"":{"on":false,"why":"not_now","until_us":17}},"embargo"'
    b'"variants":[{"id":"a","share":0.5,"texts":null},{"id":"b","share":0.5,"texts":null}],"version":""}'
    b'"interactions":[{"id":"","type":"purchase","at_us":17,"until_us":17,"campaign":"0'
    b'"attributes":{},"answered":0,"refused":[],"stage":"identified","reason":"","platform":"android","created_us":17'
    b'"id":"","name":"","version":1,"state":"approved","trigger_on":"enter","fences":{"set":null,"ids":[],"tags":[]},'
    b'"texts":{"de":{"title":"","body":"","link":null,"image":null,"plural":null},"en":{"title":"","body":"","link":null,'
    b'"image":null,"plural":null}},"from_us":null,"until_us":null,"priority":0,"caps":[{"limit":1,"n":1,"unit":"week",'
    b'"mode":"rolling","scope":"user_campaign","tag":null},{"limit":2,"n":1,"unit":"day","mode":"calendar","scope":"user",'
    b'"tag":null}],"objective":"visit","data":{},"category":null,"special":false,"fields":[],"worth":{"value":0.0,'
    b'"margin":0.0},"experiment":{"holdout":0.1,"variants":[],"version":""},"budget":{"total":1000,"per_day":100},'
    b'"budget":null,"hours":[],"when":{"events":[],"unless":[]},"audience":{"clauses":[]},"ask":null},{"id":"'
    b'{"now_us":17,"person":{"id":"","consents":{"said":{"locate":{"granted":true,"text_version":"v1","at_us":17,"seq":1},'
    b'"offers":{"granted":true,"text_version":"v1","at_us":17,"seq":2},"profile":{"granted":true,"text_version":"v1",'
    b'"at_us":17,"seq":3},"measure":{"granted":false,"text_version":"v1","at_us":17,"seq":null}}},"rhythm":{"max":2,"per":'
    b'"week","min_gap_h":24.0,"quiet":[{"days":[0,1,2,3,4,5,6],"start_minute":1260,"end_minute":480,"holidays":null}],'
    b'"special":{"allow":true,"max":1,"per":"month"},"channels":["push","inapp"],"mute":{"stores":[],"categories":[],'
    b'"campaigns":[]}},"zone":"Europe/Berlin","locale":"en","words":{},"interactions":[],"facts":{"profiled":false,'
    b'"attributes":{},"answered":0,"refused":[],"stage":"anonymous","reason":"","platform":"other","created_us":0,'
    b'"visits":{}}},"policy":{"name":"","zone":"Europe/Berlin","place_gap_s":1800,"store_gap_s":86400,"quiet":[],"killed":'
    b'false,"caps":[],"holdout":0.03,"weights":{"value":1.0,"margin":1.0,"fit":1.0,"expiry":0.5,"fatigue":1.0},"back_off":'
    b'{"after":3,"most":8},"tripped":{"campaigns":[],"stores":[],"fences":[]}},"device":{"id":"","replay":false,"lanes":['
    b'"webhook","inapp","log"]},"uses":[{"at_us":17,"campaign":"","store":"","place":"","tags":[],"visit":"019","special":'
    b'false,"ghost":false,"became":0},{"at_us":17,"others_inside":[],"catalog_version":,"tz_version":"2026","holidays_'
    b'version":"0.","stale_after_s":120.0,"spent":{},"arrivals":[{"transition":{"type":"enter","fence":"","fence_version":'
    b'1,"at_us":17,"visit":"019","entered_us":17,"accuracy_m":,"distance_m":-,"confidence":0.9,"course":{"confirmed":true,'
    b'"confidence":0.9,"fixes":,"accuracy_m":,"way_m":,"stopped":true},"course":null,"dwelt":false},"fence":{"id":"",'
    b'"version":1,"name":"","store":"","tags":[]},"zone":"Europe/Berlin","store_name":"","category":null,"rules":{"caps":[],'
    b'"budget":null},"moment":{"opening":null,"events":{},"embargo":{"on":false,"why":null,"until_us":null}}}],"campaigns":['
    b'"ghost":"Europe/London","America/New_York","UTC","holidays":["DE-BW"],"holidays_version":"0.","special":{"max":1,'
    b'"per":"month","used":0,"until":null}}},"why":"event","breaker":"campaign","lacking":[],"replay":true,"failed":"segment",'
    b'"profile":false,"hours_until":"20","campaign":{"total":100,"per_day":10,"used":,"today":},"level":"store",'
    b'"why":"purchased","why":"not_now","why":"unknown","event":"","on":null,"stage":"customer","why":"'
    b'"reason":"quiet_hours","reason":"rhythm_max","reason":"rhythm_gap","reason":"place_gap","reason":"store_gap",'
    b'"reason":"schedule","reason":"audience","reason":"no_consent","reason":"kill_switch","reason":"not_live","reason":'
    b'"stale","reason":"user_inside","reason":"muted","reason":"budget","reason":"holdout","reason":"outranked","reason":'
    b'"cap","type":"exit","type":"dwell","by":"channel","per":"day","per":"month","per":{"hours":'
    b'{"outcome":"suppressed","reason":"cap","at":"2026-{"outcome":"offer","reason":null,"at":"20","campaign":"'
    b'"transitions":[{"type":"enter","fence":"town/","fence_version":1,"at":"20","visit":"019","confidence":0.9,"primary":'
    b'true,"accuracy_m":10,"distance_m":-10},{"type":"enter","confidence":1.0,"primary":true}],"gates":[{"gate":"kill_switch",'
    b'"passed":true,"detail":{"workspace":false}},{"gate":"consent","passed":true,"detail":{"locate":true,"locate_text":'
    b'"v1","locate_seq":1,"offers":true,"offers_text":"v1","offers_seq":2}},{"gate":"live","passed":true,"detail":{'
    b'"state":"approved","locales":1}},{"gate":"schedule","passed":true,"detail":{"from":null,"until":null}},{"gate":'
    b'"opening_hours","passed":true,"detail":{"open":null}},{"gate":"context","passed":true,"detail":{"events":0}},{"gate":'
    b'"embargo","passed":true,"detail":{}},{"gate":"stale","passed":true,"detail":{"age_s":0.0,"limit_s":120.0}},{"gate":'
    b'"user_inside","passed":true,"detail":{"other_device_inside":false}},{"gate":"audience","passed":true,"detail":{}},'
    b'{"gate":"words","passed":true,"detail":{}},{"gate":"muted","passed":true,"detail":{"by":null}},{"gate":"quiet_hours",'
    b'"passed":true,"detail":{"zone":"Europe/Berlin","until":null}},{"gate":"rhythm_max","passed":true,"detail":{"max":2,'
    b'"per":"week","used":0,"until":null}},{"gate":"rhythm_gap","passed":true,"detail":{"min_gap_h":24.0,"step":0,"until":'
    b'null}},{"gate":"place_gap","passed":true,"detail":{"gap_s":1800,"until":null,"visit_answered":false}},{"gate":'
    b'"store_gap","passed":true,"detail":{"gap_s":86400,"store":"","until":null}},{"gate":"cap","passed":true,"detail":{'
    b'"rules":1}},{"gate":"cap","passed":false,"detail":{"rules":3,"level":"campaign","rule":0,"scope":"user","limit":1,'
    b'"used":1,"n":1,"unit":"week","mode":"rolling","until":"20"}},{"gate":"budget","passed":true,"detail":{}},{"gate":'
    b'"ranking","passed":false,"detail":{"gate":"ranking","passed":true,"detail":{"candidates":1,"priority":0,"score":0.,'
    b'"terms":{"value":0.0,"margin":0.0,"fit":0.,"expiry":0.0,"fatigue":0.0},"others":[{"campaign":"","fence":"","reason":'
    b'"outranked","score":0.}]}},{"gate":"experiment","passed":true,"detail":{"arm":"main","by":null,"arms":{"holdout":'
    b'0.1,"main":1.0},"test":""}},{"gate":"render","passed":true,"detail":{"locale":"en","wanted":"en"}}],"offer":{'
    b'"campaign":"","fence":"","store":"","visit":"019","trigger":"enter","lane":"inapp","expires_at":"20"},"offer":null,'
    b'"versions":{"catalog":1,"campaign":1,"fence":1,"tzdata":"2026","holidays":"0."},"ms":{"wait":0.,"lock":0.,"read":1.,'
    b'"decide":0.0'
)
_DICTIONARY: Final = zstd.ZstdDict(TABLES + WORDS)
_PACK: Final = zstd.ZstdCompressor(
    options={
        zstd.CompressionParameter.compression_level: 1,
        zstd.CompressionParameter.dict_id_flag: 0,
        zstd.CompressionParameter.content_size_flag: 0,
    },
    zstd_dict=_DICTIONARY.as_digested_dict,
)


def packed(told: bytes) -> bytes:
    """Write a JSON object small."""
    return _PACK.compress(told, _PACK.FLUSH_FRAME)


def unpacked(column: bytes) -> bytes:
    """Read what any release wrote; raises ValueError for anything else."""
    if column.startswith(_PLAIN):
        return column
    try:
        if column.startswith(_FRAMED):
            frame = zstd.ZstdDecompressor(_DICTIONARY)
            told, whole = frame.decompress(column), frame.eof
        elif column.startswith(_DEFLATED):
            inflate = zlib.decompressobj(-_WINDOW_BITS, WORDS)
            told, whole = inflate.decompress(column[1:]), inflate.eof
        else:
            raise ValueError("a form that this release does not know")
    except (zlib.error, zstd.ZstdError) as error:
        raise ValueError("not as it was written") from error
    if not whole:
        raise ValueError("not as it was written: its end is missing")
    return told
