#!/usr/bin/perl

# Why: one reading of a target, and one of a token, is what the gate promises.
# Here others read along, who share no code with it: what it lets in they must
# let in, too, and must read as the same.
#
# TARGETS and TOKENS say how many of each, and SEED says which: all but times,
# and the numbers that signatures draw, is the same for the same seed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/differential";

use Test::Lockbox;
use Targets;
use Tokens;

my $seed = $ENV{SEED} || 1;
my $targets = $ENV{TARGETS} // 4000;
my $tokens = $ENV{TOKENS} // 3000;

note "SEED=$seed";

report("$targets targets", Targets::compare(seed => $seed, count => $targets))
    if $targets;
report("$tokens tokens", Tokens::compare(seed => $seed, count => $tokens))
    if $tokens;

done_testing;


sub report {
    my ($what, $same, $report) = @_;

    ok($same, "$what are read as others read them")
        ? note($report) : diag("SEED=$seed\n$report");
}
