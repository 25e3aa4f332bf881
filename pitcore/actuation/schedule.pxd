# The C types that Cython gives to schedule.py; plain Python never reads this file.
cimport cython

@cython.locals(first=Py_ssize_t, last=Py_ssize_t)
cpdef put_in(list borders, long long low, long long high)

@cython.locals(first=Py_ssize_t, last=Py_ssize_t)
cpdef take_out(list borders, long long low, long long high)

@cython.locals(first=Py_ssize_t, last=Py_ssize_t)
cpdef list parts_within(list borders, long long low, long long high)

cpdef long long size_of(list borders)

cdef class _Lane:
    cdef list pending
    cdef list fired
    cdef long long front
    cdef bint is_open

cdef class Schedule:
    cdef list _lanes
    cdef long long _jitter
    cdef long long _reach
    cdef long long _tidy_at
    cdef readonly long long tick
    cdef readonly long long at
    cdef readonly long long mask
    cdef readonly long long next_change
    cdef readonly long long foreseen_change
    cdef public list skipped
    cdef public long long late_ticks

    @cython.locals(lane=_Lane, pending=list, fired=list, at=cython.longlong)
    cpdef object add(self, Py_ssize_t number, long long on, long long off)

    @cython.locals(lane=_Lane, before=cython.longlong, mask=cython.longlong, next_change=cython.longlong, number=Py_ssize_t)
    cpdef long long advance(self, long long tick)

    @cython.locals(lane=_Lane, pending=list, mask=cython.longlong, change=cython.longlong, low=cython.longlong, high=cython.longlong, number=Py_ssize_t, place=Py_ssize_t)
    cpdef long long foresee(self, long long first, long long last)

    cdef _settle(self, _Lane lane)

    @cython.locals(low=cython.longlong, high=cython.longlong, was_open=cython.bint, pending=list)
    cdef _forward(self, _Lane lane, Py_ssize_t number, long long before, long long tick)

    @cython.locals(fired=list)
    cdef _backward(self, _Lane lane, long long tick)

    @cython.locals(pending=list)
    cdef long long _next_of(self, _Lane lane, long long tick)
