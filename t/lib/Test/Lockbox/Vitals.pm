package Test::Lockbox::Vitals;

# What a process holds, as Linux tells it.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(memory descriptors targets);


# Its own memory in kB: what it shares with its parent or a file is not in it.
sub memory {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/smaps_rollup"
        or die "/proc/$pid/smaps_rollup: $!\n";
    my %kb = map { /^(Private_\w+): +(\d+) kB/ ? ($1 => $2) : () } <$fh>;

    return $kb{Private_Dirty} + ($kb{Private_Clean} // 0);
}

# The number of its descriptors.
sub descriptors {
    return scalar(my @all = targets(@_));
}

# What they lead to.
sub targets {
    my ($pid) = @_;

    return grep { defined } map { readlink } glob "/proc/$pid/fd/*";
}


1;
