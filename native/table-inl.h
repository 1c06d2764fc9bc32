/// The table of an instruction set.
///
/// In: the functions of `body-inl.h`, which includes this, and `supported`. Out: a macro, used where they
/// can be seen.

#define CERTVQ_TABLE(symbol, name)                                                               \
  extern const Isa symbol;                                                                       \
  const Isa symbol = {name, kLanes, supported, read_rows, products, quantize, scan, gaps, reached, \
                      leading, certify, settle, collect, sqdist, sqdist_pair, transpose, dense, wrapped,  \
                      rivals, passing, group_sqdists, apart, choose, keep_within, sort_keys,     \
                      borders, reaches, score_limits, lowers, take, measure, write_panel, byte_table<Ops>()}
