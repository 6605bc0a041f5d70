// Nothing: a set of precompiled headers needs a source of its own (TenonHeaders.cmake).
