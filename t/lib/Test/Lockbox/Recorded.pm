package Test::Lockbox::Recorded;

# Calls of admin/workflow.lua that were made once for the request of
# Test::Lockbox::Workflow, and are then made for others, without waiting for
# each answer.

use strict;
use warnings;

use Test::Lockbox::Workflow qw($ID call_as);
use Time::HiRes qw(time);

# answers that may be under way
my $WINDOW = 500;

# about as long as a seal
my $SEAL = join '.', 'x' x 80, 'x' x 900, 'x' x 86;


# The calls that the work makes; they are made, too.
sub of {
    my ($class, $work) = @_;

    my $self = bless { client => $Test::Lockbox::Workflow::Client,
                       calls => [], open => 0 }, $class;

    call_as($self, $work);

    for my $call (@{ $self->{calls} }) {
        my $args = pop @$call;

        $args =~ s/eyJ\.eyJ\.sig/$SEAL/g;
        $args =~ s{https://vendor\.}{https://login.vendor.}g;
        push @$call,
            [ split /($ID|\bacme\b|\beve\b|"decided_at":\d+)/, $args ];
    }

    return $self;
}

# A client, for as long as that work is done.
sub send_command {
    my ($self, @command) = @_;

    push @{ $self->{calls} }, [@command];
    $self->{client}->send_command(@command);
}

sub reply {
    my ($self) = @_;

    return $self->{client}->reply;
}

# Makes the calls, or so many of them, for the request with that id of that
# engineer at that tenant.
sub tell {
    my ($self, $redis, $id, $tenant, $engineer, $count) = @_;

    my @calls = @{ $self->{calls} };
    my %here = ($ID => $id, acme => $tenant, eve => $engineer);
    my $now = '"decided_at":' . int time * 1000;

    for my $call (@calls[0 .. ($count // @calls) - 1]) {
        my @command = @$call;
        my @parts = @{ pop @command };

        for (my $i = 1; $i < @parts; $i += 2) {
            $parts[$i] = $here{ $parts[$i] } // $now;
        }

        $redis->send_command(@command, join '', @parts);
        $self->{open}++;
    }

    $self->settle($redis) if $self->{open} >= $WINDOW;
}

# Waits for the answers.
sub settle {
    my ($self, $redis) = @_;

    for (; $self->{open}; $self->{open}--) {
        my $reply = $redis->reply;

        ref $reply eq 'ARRAY' && $reply->[0] eq 'ok'
            or die 'refused: ', ref $reply eq 'ARRAY' ? $reply->[0] : $$reply,
                   "\n";
    }
}


1;
