#!/usr/bin/env perl

# Why: several proxies share one Redis, and their keys come and go.  What one
# has sealed and issued counts at another if that accepts its key, and not
# otherwise.

use strict;
use warnings;

use Lockbox::Jose qw(decode key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;

my $SIGNING = Test::Lockbox::Conf::signing_key();
my $FOREIGN = key('P-256', 'foreign');

my $t = Test::Lockbox->new;

begin($t);

my $id = approved();
my $half = file();
approve('manager', $half);
my $grant = collect($id);

my $second = Test::Lockbox->new;

two_proxies();
between_two_looks();

done_testing();


# A second nginx over the same Redis, with a key of its own.
sub two_proxies {
    my $key = $second->write_file('own.pem', $FOREIGN->{pem});
    my %own = (lockbox_redis => redis_at($t), lockbox_signing_key => $key);

    $second->upstream;
    $second->write_conf($second->conf(directives => \%own));
    $second->run;

    at($second, sub {
        is(outcome(knock($grant)), '401 unknown_key', 'a stranger\'s grant');
        is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
           'a stranger\'s seals');
        is(outcome(act('customer', 'approve', $half, { version => 2 })),
           '503 internal_error', '... are not decided on');
    });

    accept_key($t, {}, $FOREIGN);
    accept_key($second, \%own, $SIGNING);

    my $shared = file();
    my $approved = at($second, sub {
        took('manager', 'approve', $shared, version => 1);
    });
    took('customer', 'approve', $shared, version => $approved->{version});

    my $ours = collect($shared);
    my $theirs = at($second, sub { collect($shared) });

    is(decode($ours)->{header}{kid}, thumbprint($SIGNING), 'our grant');
    is(decode($theirs)->{header}{kid}, thumbprint($FOREIGN), 'and theirs');
    is_deeply(decode($theirs)->{payload}, decode($ours)->{payload},
              '... say the same');

    for my $proxy ($t, $second) {
        at($proxy, sub {
            is(outcome(knock($ours)), '200 ok', 'a grant of ours');
            is(outcome(knock($theirs)), '200 ok', 'a grant of theirs');
            is_deeply([ sort map { $_->{kid} } @{ $proxy->http('GET',
                          '/lockbox/v1/jwks.json')->json->{keys} } ],
                      [ sort map { thumbprint($_) } $SIGNING, $FOREIGN ],
                      'both keys are published');
        });
    }

    took('manager', 'revoke', $shared);
    at($second, sub {
        is(eventually($ours, '401 revoked'), '401 revoked', 'revoked everywhere');
    });
}

# One looks at a request, the other decides on it, and then the first acts:
# what it was told to do whatever the version, it still does.
sub between_two_looks {
    my $fake = Test::Lockbox::FakeRedis->new($t);

    at($second, sub {
        change_conf(directives => {
            lockbox_redis => redis_at($t) =~ s/redis\.sock/fake.sock/r,
        });
    });
    change_conf();

    for my $case ([ undef, '200 ok' ], [ { version => 1 }, '409 conflict' ]) {
        my ($body, $outcome) = @$case;
        my $id = file();

        $fake->rules({ match => qr/^EVALSHA \S+ 0 cancel /, times => 1,
                       play => [ [ 'wait', $outcome ], [ 'reply' ] ] });
        $fake->forget;

        my $cancel = $second->http_start('POST', uri($id, 'cancel'),
            token => token_of('engineer'), $body ? (json => $body) : ());

        $fake->await(qr/^EVALSHA \S+ 0 cancel /);
        approve('manager', $id);
        $fake->release($outcome);

        is(outcome($cancel->response), $outcome,
           'withdrawn while it was approved, '
           . ($body ? 'as it was' : 'whatever it was'));
        is(stored($id)->{state}, $body ? 'awaiting_customer' : 'cancelled',
           '... or not');
    }
}

sub accept_key {
    my ($proxy, $own, $key) = @_;

    my $file = $proxy->write_file('accepted.pem', $key->{public_pem});

    at($proxy, sub {
        change_conf(directives => { %$own, lockbox_accept_key => $file });
    });
}
