#!/usr/bin/perl

# Why: attacks and faults of tokens, targets, framing and the workflow are
# published as a list of numbered cases.  Each has a test that bears its
# number, so that none is dropped unnoticed.

use strict;
use warnings;

use FindBin;
use Test::More;

use Lockbox::Jose;

my $tests = join '', map { Lockbox::Jose::slurp($_) }
                     grep { !/cases\.t\z/ } glob "$FindBin::Bin/*.t";

# how good requests fare in a flood is measured
$tests .= Lockbox::Jose::slurp("$FindBin::Bin/bench/requests");

for my $series ([ T => 1 .. 53 ], [ P => 1 .. 42 ], [ W => 1 .. 31 ]) {
    my ($letter, @numbers) = @$series;
    my @ids = map { sprintf '%s%02d', $letter, $_ } @numbers;

    is_deeply([ grep { $tests !~ /\b$_\b/ } @ids ], [],
              "$ids[0] to $ids[-1] have tests");
}

done_testing;
