/** What JSON can say; values of a report and of a catalogue are no more than that. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
