# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What one fix says of the calibrated fences around it, compiled: `calibrated.step` up to its edges."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.math cimport INFINITY, fabs, isnan
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

import sys

from geo_offers.pipeline._batch cimport Ping
from geo_offers.pipeline._past cimport Arriving, Aside, Course, Newest, OpenStay, Past, elsewhere_of, keep, trail_of
from geo_offers.places._kernel cimport Table
from geo_offers.places._nearest cimport Borders
from geo_offers.places.index import AROUND_MOST
from geo_offers.presence import calibrated, evidence, trail
from geo_offers.presence._evidence cimport (
    SOUND, STRAY, WORTHS, Trail, Weighed, follow, judged, probability, reach_m, sight_of, usable_accuracy_m,
    usable_speed_mps, weigh,
)
from geo_offers.presence.machine import breadth_of

cdef int32_t MOST_AROUND = AROUND_MOST
cdef double LOWEST = evidence.LOWEST
cdef double PRESENT = calibrated.PRESENT, ABSENT_AT = calibrated.ABSENT, PLAIN = calibrated.PLAIN
cdef double NARROW_M = evidence.NARROW_M, OUTSIDE_M = evidence.OUTSIDE_M
cdef double STILL_S = trail.STILL_S
STRETCH = 1.02
cdef double SLACK_M = 1.0
cdef double STRAIGHT_M = 2000.0  # of a longer way the straight line of degrees may stray by metres
cdef double FLAT_DEG = 85.0  # nearer to a pole a shorter one may
cdef double WIDE_M = 100000.0

cdef struct Rule:
    uint64_t serial  # of the filing of which it is
    double breadth_m
    double term  # `breadth_term`
    int32_t detect

cdef struct Detect:
    double margin_m
    double min_confidence
    double max_speed_mps
    int64_t confirm_us
    int64_t dwell_us


cdef bint is_current(Table table, int32_t number, uint64_t serial) noexcept nogil:
    """Whether this is still how a calibrated fence is filed."""
    return 0 <= number < table.filed_room and table.filed[number].serial == serial


cdef (int32_t, uint64_t) filing_of(fences, fence):
    """Number and serial of a calibrated fence; of any other -1 and its serial."""
    cdef Table table = fences.kernel
    cdef uint64_t serial = fences.serial(fence)
    cdef int32_t number
    if serial == 0:
        return -1, 0
    number = fences.numbers[fence]
    return number if table.filed[number].calibrated else -1, serial


cdef class Rules:
    """What is to be known of a workspace's calibrated fences, by number; each is asked for once."""

    cdef Rule* rules
    cdef Detect* detects
    cdef int32_t room
    cdef dict seen  # number of a `fences.Detect`

    def __cinit__(self):
        self.seen = {}

    def __dealloc__(self):
        free(self.rules)
        free(self.detects)

    cdef const Rule* find(self, Table table, int32_t number, index) except NULL:
        cdef int32_t room
        if number >= self.room:
            room = number + number // 8 + 16
            self.rules = <Rule*>realloc(self.rules, room * sizeof(Rule))
            memset(self.rules + self.room, 0, (room - self.room) * sizeof(Rule))
            self.room = room
        if self.rules[number].serial != table.filed[number].serial:
            self._ask(self.rules + number, index.by_number[number])
            self.rules[number].serial = table.filed[number].serial
        return self.rules + number

    cdef object _ask(self, Rule* rule, fence):
        cdef Detect* detect
        rule.breadth_m = breadth_of(fence)
        rule.term = evidence.breadth_term(rule.breadth_m)
        known = self.seen.get(fence.detect)
        if known is None:
            known = self.seen[fence.detect] = len(self.seen)
            self.detects = <Detect*>realloc(self.detects, len(self.seen) * sizeof(Detect))
            detect = self.detects + <int>known
            detect.margin_m, detect.min_confidence = fence.detect.exit_margin_m, fence.detect.min_confidence
            detect.max_speed_mps = fence.detect.max_speed_mps
            detect.confirm_us = round(fence.detect.confirm_s * 1e6)
            detect.dwell_us = round(fence.detect.dwell_s * 1e6)
        rule.detect = known


@cython.final
cdef class Weighing:
    """Of one fix at a time: what it is worth (`judge`), what it says (`look`), and taking it (`follow`)."""

    cdef void judge(self, const Past* past, const Newest* newest, Ping* ping) noexcept:
        self.fix.at_us, self.fix.lat, self.fix.lon, self.fix.mock = ping.at_us, ping.lat, ping.lon, ping.mock
        self.fix.accuracy_m, self.fix.speed_mps = usable_accuracy_m(ping.accuracy_m), usable_speed_mps(ping.speed_mps)
        self.trail = trail_of(past, newest)
        self.judged = judged(&self.trail, &self.fix)

    cdef int look(
        self, const Past* past, const Newest* newest, const OpenStay* stays, int n_stays, Ping* ping, Table table,
        Borders borders, index, const int32_t* within, int inside, bint filed_anew=False,
    ) except -1:
        """What a fix is worth, and what it says of each calibrated fence (`calibrated.step`); nothing is changed.

        WORTHS where the machine has to look. within: the calibrated fences that hold the fix. filed_anew: what is known
        of fences is of how they are filed now.
        """
        cdef int32_t[FEW + 1] numbers
        cdef double[FEW + 1] away_m
        cdef const Aside* aside = NULL if past == NULL else past.aside
        cdef const Arriving* arriving
        cdef double elsewhere_m = INFINITY if inside else OUTSIDE_M
        cdef int k, at, found
        self.n_looks, self.edges, self.clear_m = 0, False, 0.0
        self.judge(past, newest, ping)
        if self.judged.worth < STRAY:
            return self.judged.worth
        if self.judged.silent:
            return WORTHS
        self.elsewhere = elsewhere_of(past)
        self.sight = sight_of(&self.trail, self.elsewhere, &self.fix, &self.judged)
        found = borders.find_around(
            table, ping.lat, ping.lon, reach_m(self.fix.accuracy_m), numbers, away_m, MOST_AROUND + 1, &self.clear_m
        )
        if found > MOST_AROUND:
            return WORTHS
        if found:
            self.clear_m = fabs(away_m[0])
        for k in range(found):
            if table.filed[numbers[k]].calibrated:
                self._add_look(numbers[k], away_m[k])
        for k in range(inside):
            if self._look_at(within[k], table) < 0:
                return WORTHS
        for k in range(n_stays):
            if stays[k].course != NULL and stays[k].course.number >= 0:
                at = self._look_at(stays[k].course.number, table)
                if at < 0:
                    return WORTHS
                self.looks[at].stay = k
        for k in range(0 if aside == NULL else aside.count):
            arriving = aside.arriving + k
            if not is_current(table, arriving.number, arriving.serial):
                if filed_anew and arriving.number < 0:
                    continue  # the fence is none that weighs evidence by now
                return WORTHS
            at = self._look_at(arriving.number, table)
            if at < 0:
                return WORTHS
            self.looks[at].arriving = k
        if table.memo is None:
            table.memo = Rules()
        for k in range(inside):
            elsewhere_m = min(elsewhere_m, (<Rules>table.memo).find(table, within[k], index).breadth_m)
        elsewhere_m = max(elsewhere_m, NARROW_M)
        for k in range(self.n_looks):
            self._weigh(self.looks + k, aside, stays, elsewhere_m, table, index)
        return self.judged.worth

    cdef int _look_at(self, int32_t number, Table table) noexcept:
        """Where a fence stands among those looked at; less than 0 where it cannot."""
        cdef int k
        cdef double away_m
        for k in range(self.n_looks):
            if self.looks[k].number == number:
                return k
        away_m = table.away_m(number, self.fix.lat, self.fix.lon)
        if isnan(away_m) or self.n_looks == LOOKS:
            return -1
        self._add_look(number, away_m)
        return self.n_looks - 1

    cdef void _add_look(self, int32_t number, double away_m) noexcept:
        cdef Look* look = self.looks + self.n_looks
        look.number, look.away_m, look.stay, look.arriving, look.makes = number, away_m, -1, -1, 0
        self.n_looks += 1

    cdef object _weigh(
        self, Look* look, const Aside* aside, const OpenStay* stays, double elsewhere_m, Table table, index
    ):
        """As `calibrated._looked`: what a fix makes at one fence. elsewhere_m: as in `calibrated.step`."""
        cdef const Rule* rule = (<Rules>table.memo).find(table, look.number, index)
        cdef const Detect* detect = (<Rules>table.memo).detects + rule.detect
        cdef const OpenStay* stay = <const OpenStay*>NULL if look.stay < 0 else stays + look.stay
        cdef double before = self.elsewhere, lowered_m = 0.0, outside_m = OUTSIDE_M, standing
        cdef Weighed weighed
        cdef bint present
        if stay != NULL:
            before = PLAIN if isnan(stay.course.log_odds) else stay.course.log_odds
            lowered_m = detect.margin_m
            if look.away_m > 0.0 and elsewhere_m < outside_m:
                outside_m, lowered_m = elsewhere_m, 0.0
        elif look.arriving >= 0:
            before = aside.arriving[look.arriving].log_odds
        weighed = weigh(&self.sight, before, look.away_m - lowered_m, rule.breadth_m, outside_m)
        look.now, look.kept = weighed.now, weighed.kept
        standing = weighed.now - rule.term
        present = look.away_m <= 0.0 and standing >= PRESENT
        if stay == NULL:
            if not present:
                return
            look.makes = ENTERS
        elif not present and look.away_m > detect.margin_m and look.now <= ABSENT_AT:
            look.makes, look.confidence, look.certain = EXITS, 0.0, False
            self.edges = True
            return
        elif not stay.dwelt and self.fix.at_us >= stay.entered_us + detect.dwell_us:
            look.makes = DWELLS
        look.confidence = probability(standing)
        look.certain = (
            present and look.confidence >= detect.min_confidence
            and self._speed_mps() <= detect.max_speed_mps
            and self.fix.at_us >= (self.fix.at_us if stay == NULL else stay.entered_us) + detect.confirm_us
        )
        if stay != NULL and look.certain and stay.course.told and not stay.course.confirmed:
            look.makes |= CONFIRMS
        if look.makes:
            self.edges = True

    cdef double _speed_mps(self) noexcept:
        """After the fix."""
        cdef Trail trail = self.trail
        follow(&trail, &self.fix, &self.judged)
        return trail.speed_mps

    cdef bint is_clear(self, const Newest* newest) noexcept:
        """Whether the way to the fix that was looked at last is shorter than that to any border."""
        if self.trail.lat != newest.lat or self.trail.lon != newest.lon:
            return False
        return self.is_straight() and self.judged.way_m * STRETCH + SLACK_M < self.clear_m

    cdef bint is_straight(self) noexcept:
        """Whether the way to it is about the straight line of degrees."""
        return self.judged.way_m <= STRAIGHT_M and fabs(self.fix.lat) <= FLAT_DEG

    cdef object follow(self, Past* past, OpenStay* stays, Table table, index):
        """Takes the fix that was looked at last; its edges are another's to tell, whose the stays are until then."""
        cdef Arriving[LOOKS] arriving
        cdef Aside* aside = past.aside
        cdef Newest newest
        cdef double way_m = self.judged.way_m if self.judged.worth == SOUND else 0.0
        cdef int k, count = 0
        cdef Look* look
        follow(&self.trail, &self.fix, &self.judged)
        for k in range(self.n_looks):
            look = self.looks + k
            if look.stay >= 0:
                self._go_on(stays + look.stay, look, way_m)
            if (look.stay < 0 or look.makes & EXITS) and not look.makes & ENTERS and look.kept != self.sight.elsewhere:
                if look.arriving >= 0:
                    arriving[count] = aside.arriving[look.arriving]
                    aside.arriving[look.arriving].fence = NULL
                else:
                    name = sys.intern(index.by_number[look.number].id)
                    Py_INCREF(name)
                    arriving[count].fence, arriving[count].number = <PyObject*>name, look.number
                    arriving[count].serial = table.filed[look.number].serial
                arriving[count].log_odds = look.kept
                count += 1
        if aside != NULL:
            for k in range(aside.count):
                if aside.arriving[k].fence != NULL:
                    Py_DECREF(<object>aside.arriving[k].fence)
        newest.at_us, newest.lat, newest.lon = self.fix.at_us, self.fix.lat, self.fix.lon
        keep(past, &newest, &self.trail, self.sight.elsewhere, arriving, count)
        if self.n_looks == 0 and self.judged.worth == SOUND and self.sight.elsewhere == LOWEST:
            self._remember_clear(past, table)

    cdef void _remember_clear(self, Past* past, Table table) noexcept:
        """Where the phone kept still is the middle of what is clear around it."""
        cdef double moved_m = 0.0 if past.still_us == self.fix.at_us else self.judged.still_m * STRETCH
        cdef double clear_m = min(self.clear_m, WIDE_M) - moved_m - SLACK_M
        past.clear_m, past.clear_at = <float>(clear_m if clear_m > 0 else 0.0), <uint32_t>table.changed

    cdef void _go_on(self, OpenStay* stay, const Look* look, double way_m) noexcept:
        """As `calibrated._gone_on`; `trail` is after the fix."""
        cdef Course* course = stay.course
        cdef bint begun = stay.entered_us == self.fix.at_us
        cdef int64_t since_us = stay.entered_us if stay.entered_us > self.trail.still_us else self.trail.still_us
        if not course.told:
            course.confidence, course.fixes, course.accuracy_m, course.way_m = 0.0, 0, 0.0, 0.0
            course.told, course.confirmed, course.stopped = True, not begun, False
        course.confirmed = course.confirmed or look.certain
        course.confidence = look.confidence if look.confidence > course.confidence else course.confidence
        course.way_m = course.way_m if begun else course.way_m + way_m
        if not look.makes & EXITS:
            course.fixes += 1
            course.accuracy_m += (self.fix.accuracy_m - course.accuracy_m) / course.fixes
            course.stopped = course.stopped or (self.fix.at_us - since_us) / 1e6 >= STILL_S
        course.log_odds = look.kept
