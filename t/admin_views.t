#!/usr/bin/env perl

# Why: people decide on what they are shown, and afterwards want to know who
# opened the door, for how long, and how it came to be shut.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

my $TIME = qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\z/;

my $NARROW = [ { service => 'mail', methods => ['GET'],
                 paths => ['/tenants/acme/mail/inbox'], labels => [] } ];

# The engineer's request: what was done, what it then is, who did what at which
# stage, and which times there are besides those of filing and answering.
my @STORIES = (
    [ 'awaiting_manager', [], [], '' ],
    [ 'awaiting_customer', [ [ manager => 'approve' ] ],
      [ 'manager approve mona' ], '' ],
    [ 'approved', [ [ manager => 'approve' ], [ customer => 'approve' ] ],
      [ 'manager approve mona', 'customer approve carl' ],
      'approved_at expires_at' ],
    [ 'denied', [ [ manager => 'deny' ] ], [ 'manager deny mona' ],
      'ended_at' ],
    [ 'denied', [ [ manager => 'approve' ], [ customer => 'deny' ] ],
      [ 'manager approve mona', 'customer deny carl' ], 'ended_at' ],
    [ 'cancelled', [ [ manager => 'approve' ], [ engineer => 'cancel' ] ],
      [ 'manager approve mona', 'engineer cancel erin' ], 'ended_at' ],
    [ 'completed', [ [ manager => 'approve' ], [ customer => 'approve' ],
                     [ engineer => 'complete' ] ],
      [ 'manager approve mona', 'customer approve carl',
        'engineer complete erin' ], 'approved_at ended_at expires_at' ],
    [ 'revoked', [ [ manager => 'approve' ], [ customer => 'approve' ],
                   [ customer => 'revoke' ] ],
      [ 'manager approve mona', 'customer approve carl',
        'customer revoke carl' ], 'approved_at ended_at expires_at' ],
    [ 'revoked', [ [ manager => 'approve' ], [ customer => 'approve' ],
                   [ 'second-manager' => 'revoke' ] ],
      [ 'manager approve mona', 'customer approve carl',
        'manager revoke max' ], 'approved_at ended_at expires_at' ],
    [ 'lapsed', [], [ 'manager lapsed nobody' ], 'ended_at' ],
    [ 'lapsed', [ [ manager => 'approve' ] ],
      [ 'manager approve mona', 'customer lapsed nobody' ], 'ended_at' ],
    [ 'needs_info', [ [ manager => 'ask' ] ], [ 'manager ask mona' ], '' ],
    [ 'awaiting_manager', [ [ manager => 'ask' ], [ engineer => 'answer' ] ],
      [ 'manager ask mona', 'engineer answer erin' ], '' ],
    [ 'denied', [ [ manager => 'ask' ], [ manager => 'deny' ] ],
      [ 'manager ask mona', 'manager deny mona' ], 'ended_at' ],
    [ 'cancelled', [ [ manager => 'ask' ], [ engineer => 'cancel' ] ],
      [ 'manager ask mona', 'engineer cancel erin' ], 'ended_at' ],
    [ 'lapsed', [ [ manager => 'ask' ] ],
      [ 'manager ask mona', 'manager lapsed nobody' ], 'ended_at' ],
    [ 'lapsed', [ [ manager => 'approve' ], [ customer => 'ask' ] ],
      [ 'manager approve mona', 'customer ask carl',
        'customer lapsed nobody' ], 'ended_at' ],
    [ 'expired', [ [ manager => 'approve' ], [ customer => 'approve' ] ],
      [ 'manager approve mona', 'customer approve carl',
        'no expired nobody' ], 'approved_at ended_at expires_at' ],
);

# Who sees it, and what he may do to it; the question is the manager's.
my %ACTIONS = (
    'engineer' => [ 'cancel', 'cancel', 'complete grant', 'answer cancel' ],
    'engineer-manager' =>
        [ 'cancel', 'cancel', 'complete revoke grant', 'answer cancel' ],
    'former-engineer' => [ '', '', 'revoke', '' ],
    'manager'         => [ 'approve deny ask', '', 'revoke', 'deny' ],
    'second-manager'  => [ 'approve deny ask', '', 'revoke', 'deny' ],
    'customer'        => [ '', 'approve deny ask', 'revoke', '' ],
    'second-customer' => [ '', 'approve deny ask', 'revoke', '' ],
    'auditor'         => [ '', '', '', '' ],
);
my %COLUMN = (awaiting_manager => 0, awaiting_customer => 1, approved => 2,
              needs_info => 3);

my $t = Test::Lockbox->new;

begin($t);

story(@$_) for @STORIES;
narrowed();

done_testing();


sub show {
    my ($who, $id) = @_;

    my $response = act($who, 'show', $id);

    return $response->status == 200 ? $response->json : outcome($response);
}

# "stage decision sub" of each; what is nobody's has no stage, or that whose
# approval was missing.
sub told {
    my ($shown) = @_;

    return [ map {
        join ' ', $_->{stage} // 'no', $_->{decision},
                  $_->{by} ? $_->{by}{sub} : 'nobody';
    } @{ $shown->{decisions} } ];
}

sub story {
    my ($state, $steps, $told, $times) = @_;

    my $id = file();
    my $name = join ' ', "$state:", map { "@$_" } @$steps;

    for (@$steps) {
        my ($who, $action) = @$_;
        took($who, $action, $id, version => stored($id)->{version} + 0,
             comment => 'Which mailbox?');
    }

    if ($state =~ /^(?:lapsed|expired)$/) {
        make_due($id, unseen => 1);
        story_of($id, $name, $state, $told, $times);

        my $unwritten = show('auditor', $id);

        make_due($id);
        $t->wait_for(sub { stored($id)->{state} eq $state }, undef, 'a sweep');

        my $written = show('auditor', $id);

        delete @$_{qw(version answer_by expires_at ended_at)}, delete
            $_->{decisions}[-1]{at} for $unwritten, $written;
        is_deeply($written, $unwritten, "$name: the same once it is written");
        $name .= ', written';
    }

    story_of($id, $name, $state, $told, $times);
    people($id, $name, $state);
}

sub story_of {
    my ($id, $name, $state, $told, $times) = @_;

    my $shown = show('auditor', $id);
    my @decisions = @{ $shown->{decisions} };

    is($shown->{state}, $state, "$name: the state");
    is($shown->{asked_by_stage}, $state eq 'needs_info' ? 'manager' : undef,
       '... whose question is open');
    is_deeply($shown->{engineer}, { iss => $VENDOR, sub => 'erin' },
              '... the engineer');
    is_deeply(told($shown), $told, '... who did what');
    is(join(' ', grep { defined $shown->{$_} }
                      qw(approved_at ended_at expires_at)), $times,
       '... and which times there are');
    like($shown->{$_}, $TIME, "... $_")
        for qw(created_at answer_by), split ' ', $times;

    my @at = map { $_->{at} } @decisions;

    is(scalar(grep { !/$TIME/ } @at), 0, '... each decision has its time');
    is($at[-1], $shown->{ended_at}, '... the last one that of the end')
        if $state =~ /^(?:lapsed|expired)$/;
    is(scalar(grep { $_->{seal} || $_->{by} && $_->{by}{sub} eq 'nobody' }
                   @decisions), 0, '... and no seal');

    my %iss = map { $_->{by} ? ($_->{by}{sub} => $_->{by}{iss}) : () }
                  @decisions;

    is($iss{$_}, $_ eq 'carl' ? $CUSTOMERS : $VENDOR, "... by $_ of his issuer")
        for sort keys %iss;
}

sub people {
    my ($id, $name, $state) = @_;

    my $column = $COLUMN{$state};
    my $auditor = show('auditor', $id);
    my (%got, %want);

    for my $who (keys %PEOPLE) {
        my $shown = show($who, $id);

        $want{$who} = !$ACTIONS{$who} ? '404 not_found'
                    : defined $column ? $ACTIONS{$who}[$column] : '';
        $got{$who} = $shown;

        if (ref $shown) {
            $got{$who} = join ' ', @{ $shown->{actions} };
            is_deeply({ %$shown, actions => [] },
                      { %$auditor, actions => [] },
                      "$name: $who sees what the auditor sees");
        }
    }

    is_deeply(\%got, \%want, "$name: who may do what");
}

# What counts is what was left of it.
sub narrowed {
    my $id = file(duration => 7200);

    approve('manager', $id, duration => 3600);
    is(show('customer', $id)->{duration}, 3600,
       'the customer sees what the manager left of the time');

    approve('customer', $id, access => $NARROW, duration => 1800);

    for my $who (sort keys %ACTIONS) {
        my $shown = show($who, $id);

        is($shown->{duration}, 1800, "$who sees the time that was granted");
        is_deeply($shown->{access}, $NARROW, '... and the access');
    }
}
