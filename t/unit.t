#!/usr/bin/perl

# Why: the pure files are tested by programs of their own, which "make unit"
# builds with sanitizers; this runs them and passes their results on.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/..');
my $programs = $ENV{LOCKBOX_UNIT} // "$root/build/unit";

# where the programs leave their RSA keys to the next run
$ENV{LOCKBOX_KEYS} //= "$programs/keys";
mkdir $ENV{LOCKBOX_KEYS};

my @names = grep { $_ ne 'ngx_shim' }
            map { basename($_, '.c') } glob "$root/t/unit/*.c";

for my $name (@names) {
    subtest $name => sub { run($name) };
}

ok @names, 'there are unit tests';

done_testing();


sub run {
    my ($name) = @_;

    my $program = "$programs/$name";

    ok -x $program, 'is built' or return done_testing();

    open my $pipe, '-|', "'$program' 2>&1" or die "$program: $!\n";

    my ($plan, $ran) = (0, 0);
    while (my $line = <$pipe>) {
        chomp $line;

        if ($line =~ /^(not )?ok \d+(?: - )?(.*)/) {
            $ran++;
            ok !$1, "$name: $2";
        } elsif ($line =~ /^1\.\.(\d+)$/) {
            $plan = $1;
        } else {
            diag $line;
        }
    }

    close $pipe;
    is $?, 0, 'ends well';
    is $ran, $plan || 'a plan', 'runs as many tests as planned';

    done_testing();
}
