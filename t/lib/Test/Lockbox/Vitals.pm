package Test::Lockbox::Vitals;

# What a process holds, as Linux tells it.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(memory descriptors targets);


# Its memory in kB, without what is mapped from files.
sub memory {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!\n";
    my ($kb) = join('', <$fh>) =~ /^RssAnon:\s+(\d+) kB$/m
        or die "no RssAnon of $pid\n";

    return $kb;
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
